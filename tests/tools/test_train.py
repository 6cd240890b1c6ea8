"""Test the message of `vislab train` after an interrupt."""

import sys

import pytest

from vislab.commands import train as tool


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train.py", "c.py"], "python train.py c.py --resume"),
        (["/bin/vislab", "train", "c.py"], "vislab train c.py --resume"),
        (["/lib/vislab/__main__.py", "train", "c.py"], "python -m vislab train c.py --resume"),
        (["train.py", "c.py", "--resume", "old.pth", "--seed", "1"], "python train.py c.py --seed 1 --resume"),
        (
            ["train.py", "c.py", "--resume", "--amp", "--work-dir", "a b"],
            "python train.py c.py --amp --work-dir 'a b' --resume",
        ),
    ],
)
def test_the_command_that_goes_on(tmp_path, monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", arguments)
    assert tool.how_to_go_on(None) == []
    assert tool.how_to_go_on(str(tmp_path)) == [f"no checkpoint was saved yet in {tmp_path}"]
    (tmp_path / "iter_4.pth").touch()
    assert tool.how_to_go_on(str(tmp_path))[-1].strip() == command
