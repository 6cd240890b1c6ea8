"""What every test and the processes it starts share: a thread count, no picture windows, the folder of real data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
# before torch is imported; one thread a process where the tests run in several (pytest -n 2)
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped when VISLAB_DATA is not set."""
    root = os.environ.get("VISLAB_DATA")
    if not root:
        pytest.skip("VISLAB_DATA is not set")
    return Path(root)
