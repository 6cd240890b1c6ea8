"""What several test files share: paths, toy runs, stand-in data, behaviors of models and datasets."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
TOOLS = REPOSITORY / "tools"
HELPERS = Path(__file__).parent
