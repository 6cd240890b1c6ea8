"""Helpers of several test files: paths, toy runs, generated data, test base classes of models and datasets."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
TOOLS = REPOSITORY / "tools"
HELPERS = Path(__file__).parent
