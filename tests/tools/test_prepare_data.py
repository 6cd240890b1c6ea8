"""Test the arguments of `vislab prepare-data`."""

import argparse

import pytest

from vislab.apis import small_data
from vislab.commands import prepare_data
from vislab.errors import ConfigError


def test_all_names_are_checked_before_the_first_one_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(small_data, "prepare", lambda *_: pytest.fail("it was made"))
    parser = argparse.ArgumentParser()
    prepare_data.add_arguments(parser)
    with pytest.raises(ConfigError, match="dataset='ade20kk' is not one of .*camvid.*; did you mean 'ade20k'"):
        prepare_data.main(parser.parse_args(["camvid", "ade20kk", "--root", str(tmp_path)]))
