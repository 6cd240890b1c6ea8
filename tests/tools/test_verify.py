"""Test the arguments of `vislab verify`."""

import argparse

import pytest

from vislab.commands import verify
from vislab.errors import ConfigError


def test_a_word_in_no_command_is_no_success(tmp_path, capsys):
    (tmp_path / "page.md").write_text("<!-- verify: not here; needs a clone of the original: python a.py -->\n")
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    with pytest.raises(ConfigError, match="--only b.py: no command of these pages contains it"):
        verify.main(parser.parse_args([str(tmp_path / "page.md"), "--only", "b.py"]))
    verify.main(parser.parse_args([str(tmp_path / "page.md"), "--list"]))
    assert "1 figures" in capsys.readouterr().out
