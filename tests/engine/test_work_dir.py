"""Test the default work directory."""

import os

import pytest
from mmengine.config import Config

from vislab.engine.work_dir import work_dir_of
from vislab.errors import ConfigError


def test_the_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    assert work_dir_of({"work_dir": "$RUNS/a"}) == str(tmp_path / "runs/a") and (tmp_path / "runs/a").is_dir()
    (tmp_path / "swin.py").write_text("x = 1")
    config = Config.fromfile(str(tmp_path / "swin.py"))
    assert os.path.samefile(work_dir_of(config), tmp_path / "work_dirs/swin")
    config.work_dir = "given"
    assert os.path.samefile(work_dir_of(config), tmp_path / "given")


def test_without_a_folder_and_a_name():
    with pytest.raises(ConfigError, match="--work-dir DIR"):
        work_dir_of(Config({}))
