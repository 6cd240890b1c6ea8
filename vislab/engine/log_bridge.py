"""Passes what vislab's modules without mmengine log through `logging` on to the run's log; importing it does it."""

import logging

from mmengine.logging import print_log


class _RunLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), logger="current", level=record.levelno)


def install_bridge() -> None:
    """Make mmengine's current logger the only destination of the logger `vislab` and those below it."""
    logger = logging.getLogger("vislab")
    if not any(isinstance(handler, _RunLog) for handler in logger.handlers):
        logger.addHandler(_RunLog())
        logger.setLevel(logging.INFO)
        logger.propagate = False


install_bridge()
