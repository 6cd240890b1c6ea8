"""Test that a device is checked before use, with one message on failure."""

import pytest
import torch

from vislab.engine.device import usable_device
from vislab.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["foo", "meta", "cuda:77", "cpu:x", "", "mps" if torch.cuda.is_available() else "cuda"]
)
def test_devices_that_are_not_here(name):
    with pytest.raises(ConfigError, match=r"cannot be used: .*\. Here: cpu") as error:
        usable_device(name)
    assert repr(name) in str(error.value) and "\n" not in str(error.value)


def test_the_cpu():
    assert usable_device("cpu") == torch.device("cpu")


def test_a_long_reason_ends_with_a_word():
    with pytest.raises(ConfigError, match=r"device='foo' cannot be used: Expected one of .* \.\.\.\. Here: cpu"):
        usable_device("foo")
