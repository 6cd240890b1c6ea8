"""Settings of all tests and of their subprocesses: number of threads, no image windows, the data folder."""

import gc
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
# before torch is imported; the processes of pytest -n share the cores, and threads that wait for others spin
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of later garbage collections; mmengine runs one for each dataset."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped when VISLAB_DATA is not set."""
    root = os.environ.get("VISLAB_DATA")
    if not root:
        pytest.skip("VISLAB_DATA is not set")
    return Path(root)


@pytest.fixture
def logged(monkeypatch) -> Iterator[Callable[[], str]]:
    """Returns all that was logged through mmengine's logger since the test began, as one text."""
    from mmengine.logging import MMLogger

    from vislab.engine import log_bridge  # a test alone may import nothing that forwards messages of vislab's logger
    from vislab.io import file_checks

    log_bridge.install_bridge()

    monkeypatch.setattr(file_checks, "_said", set())  # what is said once was perhaps said by another test

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    handler = Keep()
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lambda: "\n".join(lines)
    logger.removeHandler(handler)
