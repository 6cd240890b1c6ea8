"""Test the arguments of `vislab predict`."""

import argparse

import pytest

from vislab.commands import predict
from vislab.errors import ConfigError


def test_an_overlap_without_tiles_is_refused():
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    with pytest.raises(ConfigError, match="--overlap 0 is that of the tiles: give their size with --tiles"):
        predict.main(parser.parse_args(["a.py", "a.pth", "a.png", "--out", "new", "--overlap", "0"]))
