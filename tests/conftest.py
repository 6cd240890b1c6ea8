"""What every test shares: two threads, no picture windows, and the folder of real data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _two_threads():
    import torch

    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped when VISLAB_DATA is not set."""
    root = os.environ.get("VISLAB_DATA")
    if not root:
        pytest.skip("VISLAB_DATA is not set")
    return Path(root)
