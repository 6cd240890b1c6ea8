"""Tests that errors of parts of a config that do not fit together are one message with its place."""

import pytest

from vislab.engine.first_errors import one_message
from vislab.errors import ConfigError, DataError
from vislab.models.base import require_finite


def test_other_errors_become_one_message_with_the_place():
    message = r"the first step fails in .*, line \d+\): ZeroDivisionError: "
    with pytest.raises(ConfigError, match=message), one_message("the first step"):
        1 / 0  # noqa: B018
    message = r"fails in require_finite \(vislab/models/base.py, line \d+\)"
    with pytest.raises(ConfigError, match=message), one_message("the first step"):
        require_finite("no tensor", "logits")


def test_errors_that_say_enough_pass():
    with pytest.raises(DataError, match="^a message$"), one_message("x"):
        raise DataError("a message")
    with pytest.raises(KeyboardInterrupt), one_message("x"):
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), one_message("x", when=lambda: False):
        1 / 0  # noqa: B018
    with one_message("x"):
        pass
