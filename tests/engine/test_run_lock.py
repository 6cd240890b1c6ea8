"""Test the lock of a work directory; locks of dead processes do not block."""

import errno
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.helpers.toy_run import make_runner
from vislab.engine import run_lock
from vislab.engine.run_lock import LOCK_NAME, RunLock, hold_work_dir
from vislab.errors import ConfigError


def holder(folder: Path, with_child: bool = False) -> list[int]:
    """Another process that has the lock of `folder`, and perhaps a child of it; their process numbers."""
    read, write = os.pipe()
    if os.fork() == 0:
        RunLock(folder)
        if with_child and os.fork() == 0:
            os.write(write, b"%d\n" % os.getpid())
            time.sleep(60)
        os.write(write, b"%d\n" % os.getpid())
        time.sleep(60)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        return [int(lines.readline()) for _ in range(1 + with_child)]


def kill(pid: int, child: bool = True) -> None:
    os.kill(pid, signal.SIGKILL)
    if child:
        os.waitpid(pid, 0)


def test_second_run_is_refused_with_process_host_and_remedy_until_the_first_is_killed(tmp_path):
    (first,) = holder(tmp_path)
    with pytest.raises(ConfigError, match=rf"process {first} on {socket.gethostname()}.*--work-dir.*--resume"):
        RunLock(tmp_path)
    kill(first)
    assert (tmp_path / LOCK_NAME).read_text()  # it could not clean up
    RunLock(tmp_path).release()
    assert os.listdir(tmp_path) == []


def test_children_that_outlive_a_killed_run_do_not_block(tmp_path):
    """Data-loader workers inherit the lock's file when they are forked."""
    pids = holder(tmp_path, with_child=True)
    first = json.loads((tmp_path / LOCK_NAME).read_text())["pid"]
    kill(first)
    try:
        RunLock(tmp_path).release()
    finally:
        kill(next(pid for pid in pids if pid != first), child=False)


def test_two_runs_of_one_process(tmp_path):
    refused = pytest.raises(ConfigError, match=f"process {os.getpid()}")
    with hold_work_dir(tmp_path), refused, hold_work_dir(tmp_path):
        pass
    with hold_work_dir(tmp_path):
        pass


def test_a_copied_or_renamed_folder_is_free(tmp_path):
    (tmp_path / "a").mkdir()
    lock = RunLock(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / LOCK_NAME).write_bytes((tmp_path / "a" / LOCK_NAME).read_bytes())
    RunLock(tmp_path / "b").release()
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    with pytest.raises(ConfigError, match="another run"):
        RunLock(tmp_path / "link")
    lock.release()


def test_file_systems_without_locks_say_so_and_still_refuse_a_living_owner(tmp_path, monkeypatch):
    said = []

    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", unsupported)
    monkeypatch.setattr(run_lock, "print_log", lambda text, **_: said.append(text))
    lock = RunLock(tmp_path)
    assert "no file locks" in said[0]
    with pytest.raises(ConfigError, match="another run is training"):
        RunLock(tmp_path)
    lock.release()
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "birth": "1"}  # the number was given out again since
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    RunLock(tmp_path).release()


def test_a_refused_training_touches_nothing(tmp_path):
    make_runner(tmp_path, total=1).train()
    (tmp_path / "epoch_9.pth.123.tmp").write_bytes(b"being written by the other run")
    second = make_runner(tmp_path, total=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with hold_work_dir(tmp_path), pytest.raises(ConfigError, match="another run"):
        second.train()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_training_gives_the_folder_back_however_it_ends(tmp_path):
    runner = make_runner(tmp_path, total=1)
    runner.model.train_step = lambda *a, **k: 1 / 0
    with pytest.raises(ZeroDivisionError):
        runner.train()
    assert not (tmp_path / LOCK_NAME).exists()
