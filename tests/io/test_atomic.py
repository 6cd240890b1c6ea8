"""Test atomic writes: a path has the old or the complete new content, and leftovers of killed runs are removed."""

import os
import shutil
import time

import pytest
import torch

import vislab.engine  # noqa: F401  (installs the loaders)
from vislab.errors import CheckpointError
from vislab.io.atomic import copy_atomically, remove_leftovers, write_atomically, write_text_atomically
from vislab.io.checkpoint import load_checkpoint, save_checkpoint


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "epoch_1.pth"
    save_checkpoint({"a": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint({"a": torch.zeros(100), "b": lambda: None}, path)
    assert load_checkpoint(path) == {"a": 1} and os.listdir(tmp_path) == ["epoch_1.pth"]


def test_full_disk_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left.*untouched"):
        save_checkpoint({"a": 1}, tmp_path / "epoch_1.pth")
    assert os.listdir(tmp_path) == []


def test_rename_comes_after_the_data_is_on_disk(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (events.append("fsync"), fsync(f)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    save_checkpoint({"a": 1}, tmp_path / "epoch_1.pth")
    assert events == ["fsync", "replace", "fsync"]


def test_only_own_leftovers_are_removed(tmp_path):
    for name in ("epoch_1.pth.77.tmp", "last_checkpoint.77.tmp", "notes.tmp", "epoch_1.pth"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["epoch_1.pth", "notes.tmp"]


def test_a_copy_replaces_the_target_in_one_step(tmp_path, monkeypatch):
    source, target = tmp_path / "a", tmp_path / "deep/b"
    source.write_bytes(os.urandom(3 << 20))  # more than one block of copyfileobj
    copy_atomically(source, target)
    assert target.read_bytes() == source.read_bytes() and os.listdir(target.parent) == ["b"]
    write_text_atomically("naïve\n", target)
    assert target.read_bytes() == b"na\xc3\xafve\n"
    monkeypatch.setattr(shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="No space left"):
        copy_atomically(source, target)
    assert target.read_text() == "naïve\n" and os.listdir(target.parent) == ["b"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    (tmp_path / "a.pth").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.pth", interrupted)
    assert (tmp_path / "a.pth").read_bytes() == b"old" and os.listdir(tmp_path) == ["a.pth"]


def test_a_json_file_that_is_being_written_is_left(tmp_path):
    """An evaluation may write its metrics while a training starts; after an hour the file belongs to nobody."""
    for name, age in (("metrics.json.7.tmp", 0), ("metrics.json.8.tmp", 3700), ("epoch_1.pth.9.tmp", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert {path.name for path in remove_leftovers(tmp_path)} == {"metrics.json.8.tmp", "epoch_1.pth.9.tmp"}
    assert os.listdir(tmp_path) == ["metrics.json.7.tmp"]
