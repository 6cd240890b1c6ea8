"""Forward messages of the Python logger `vislab` to mmengine's log when this module is imported."""

import logging

from mmengine.logging import print_log


class _RunLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), logger="current", level=record.levelno)


def install_bridge() -> None:
    """Forward messages of the logger `vislab` and its children to mmengine's current logger only."""
    logger = logging.getLogger("vislab")
    if not any(isinstance(handler, _RunLog) for handler in logger.handlers):
        logger.addHandler(_RunLog())
        logger.setLevel(logging.INFO)
        logger.propagate = False


install_bridge()
