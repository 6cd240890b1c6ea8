"""Test that flags of the benchmark without an effect, and files that cannot be written, are refused before the work."""

import argparse

import pytest

from vislab.commands import benchmark
from vislab.errors import ConfigError


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers", "2"], "--workers 2 is for --loader-only"),
        (["--train", "--shape", "32"], "--train needs labels"),
        (["--loader-only", "--checkpoint", "a.pth"], "uses no model: remove --checkpoint"),
        (["--loader-only", "--amp"], "uses no model: remove --amp"),
        (["--out", "{folder}"], "is a folder; expected the name of a file"),
    ],
)
def test_before_the_config_is_read(flags, message, tmp_path):
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    args = parser.parse_args(["missing.py", *(flag.format(folder=tmp_path) for flag in flags)])
    with pytest.raises(ConfigError, match=message):
        benchmark.main(args)
