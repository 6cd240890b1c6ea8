"""Test the arguments of `vislab download`."""

import argparse

import pytest

from vislab.commands import download
from vislab.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--list", "--dest", "new"], "--list downloads nothing"),
        (["--list", "efficientnet_lite0_imagenett"], "no model .*; did you mean 'efficientnet_lite0_imagenet'"),
        (["--list", "nothing_*"], "no model with published weights is named 'nothing_"),
    ],
)
def test_a_list_of_nothing_is_refused(words, message):
    parser = argparse.ArgumentParser()
    download.add_arguments(parser)
    with pytest.raises(ConfigError, match=message):
        download.main(parser.parse_args(words))
