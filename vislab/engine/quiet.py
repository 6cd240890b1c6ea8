"""Filter unimportant log messages of mmengine in the terminal; the log file has all of them."""

import logging

_NOISE = (
    "Distributed training is not used, all SyncBatchNorm",  # whether the model has such layers or not
    "The prefix is not set in metric class",  # metrics without a prefix are meant to have none
    "Exp name: ",
    "Hooks will be executed in the following order",
)


def keep_terminal_quiet(logger: logging.Logger) -> None:
    """Add the filter to the logger's terminal handlers."""
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.addFilter(_is_helpful)


def _is_helpful(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NOISE)
