"""Test the message of tools/train.py after an interrupt."""

import importlib.util
import sys
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("train_tool", Path(__file__).parents[2] / "tools" / "train.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["c.py"], "python train.py c.py --resume"),
        (["c.py", "--resume", "old.pth", "--seed", "1"], "python train.py c.py --seed 1 --resume"),
        (["c.py", "--resume", "--amp", "--work-dir", "a b"], "python train.py c.py --amp --work-dir 'a b' --resume"),
    ],
)
def test_the_command_that_goes_on(tmp_path, monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    assert tool.how_to_go_on(None) == []
    assert tool.how_to_go_on(str(tmp_path)) == [f"no checkpoint was saved yet in {tmp_path}"]
    (tmp_path / "iter_4.pth").touch()
    assert tool.how_to_go_on(str(tmp_path))[-1].strip() == command
