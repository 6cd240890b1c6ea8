"""Test paths in configs: expansion of variables, and checks of output folders."""

import os

import pytest

from vislab.errors import ConfigError, DataError
from vislab.io.paths import expand, usable_file, usable_folder


def test_variables_and_home_are_put_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    assert usable_folder("~/a/b") == str(tmp_path / "a/b") and (tmp_path / "a/b").is_dir()
    assert usable_folder("$RUNS/c") == str(tmp_path / "runs/c")
    assert os.listdir(tmp_path / "a/b") == []
    with pytest.raises(DataError, match="NOT_SET_HERE, which is not set"):
        usable_folder("$NOT_SET_HERE/x")


def test_folders_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"work_dir='.*file' is a file"):
        usable_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be written to: Not a directory"):
        usable_folder(tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match="show_dir='/proc/1/x' cannot be written to"):
        usable_folder("/proc/1/x", "show_dir")
    with pytest.raises(ConfigError, match="File name too long"):
        usable_folder(tmp_path / ("x" * 300))


def test_expand_leaves_unknown_variables(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("RUNS", "/runs")
    assert expand("~/$RUNS/${NOT_SET_HERE}/a") == "/home/somebody//runs/${NOT_SET_HERE}/a"


def test_files_are_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    assert usable_file("$RUNS/new/a.PNG", (".svg", ".png")) == str(tmp_path / "runs/new/a.PNG")
    assert os.listdir(tmp_path / "runs/new") == []
    with pytest.raises(ConfigError, match=r"--out='a.xyz': expected .* ends in .svg or .png"):
        usable_file("a.xyz", (".svg", ".png"))
    with pytest.raises(ConfigError, match="runs' is a folder; expected the name of a file"):
        usable_file(tmp_path / "runs")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="out='.*file' is a file; expected a folder"):
        usable_file(tmp_path / "file" / "a.json", what="out")
