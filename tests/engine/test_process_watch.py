"""Test that a failed or killed process ends all others with one message."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from vislab.engine import process_watch
from vislab.engine.process_watch import ProcessWatch

context = multiprocessing.get_context("fork")  # starts at once: nothing is imported again


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(process_watch, "_GRACE", 0.2)  # the processes are forks


def start(tmp_path: Path, *deeds) -> list:
    """A process for each of `deeds`, functions of its watch; what it prints goes to a file named by its rank."""
    address = context.Queue()

    def main(rank: int) -> None:
        sys.stderr = open(tmp_path / str(rank), "w", buffering=1)  # noqa: SIM115  until the process ends
        watch = ProcessWatch(rank, len(deeds))
        watch.work_dir = "work_dirs/run"
        if rank == 0:
            where = watch.listen()
            for _ in deeds[1:]:
                address.put(where)
            while len(watch._connections) < len(deeds) - 1:
                time.sleep(0.01)
        else:
            watch.join("127.0.0.1", *address.get())
        sys.exit(deeds[rank](watch))

    processes = [context.Process(target=main, args=(rank,)) for rank in range(len(deeds))]
    for process in processes:
        process.start()
    return processes


def end(processes: list, seconds: float = 10) -> list[int]:
    """Their exit codes; a process that hangs is killed, and has None."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and any(process.exitcode is None for process in processes):
        time.sleep(0.02)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def printed(tmp_path: Path, count: int) -> list[str]:
    return [(tmp_path / str(rank)).read_text() for rank in range(count)]


def hang(watch: ProcessWatch) -> None:
    """Block, as a collective does."""
    threading.Event().wait(60)


def killed(watch: ProcessWatch) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(watch: ProcessWatch) -> int:
    if watch.tell_failure("broken.png cannot be decoded"):
        print("error: broken.png cannot be decoded", file=sys.stderr)
    return 2


def finish(watch: ProcessWatch) -> int:
    watch._finish()
    return 0


def test_a_killed_process_ends_the_others(tmp_path):
    assert end(start(tmp_path, hang, killed, hang)) == [1, -signal.SIGKILL, 1]
    first, *others = printed(tmp_path, 3)
    assert first.startswith("error: process 1 (number ") and first.count("\n") == 1
    assert "of 3 has ended without a message" in first and "work_dirs/run; continue with --resume" in first
    assert others == ["", ""]


def test_process_0_is_watched_too(tmp_path):
    assert end(start(tmp_path, killed, hang, hang)) == [-signal.SIGKILL, 1, 1]
    _, first, other = printed(tmp_path, 3)
    assert first.startswith("error: process 0 of 3 has ended without a message") and other == ""


@pytest.mark.parametrize("deeds", [(hang, fail), (fail, hang), (fail, fail), (hang, fail, fail)])
def test_a_failure_is_printed_once_and_ends_all(tmp_path, deeds):
    """By the process that fails, or the first of them where all fail of the same."""
    codes = end(start(tmp_path, *deeds))
    assert all(code in ((1,) if deed is hang else (1, 2)) for code, deed in zip(codes, deeds, strict=True))
    assert "".join(printed(tmp_path, len(deeds))) == "error: broken.png cannot be decoded\n"


def test_a_process_that_finishes_ends_nobody(tmp_path):
    def last(watch):
        time.sleep(0.8)  # longer than anything would take to end it
        return finish(watch)

    assert end(start(tmp_path, last, finish, finish)) == [0, 0, 0]
    assert end(start(tmp_path, finish, last)) == [0, 0]
    assert printed(tmp_path, 3) == ["", "", ""]


def test_a_data_loading_process_does_not_keep_its_parent_alive(tmp_path):
    """It has a copy of its parent's connections unless they are closed there."""

    def parent(watch):
        context.Process(target=time.sleep, args=(15,), daemon=False).start()
        time.sleep(0.1)
        killed(watch)

    assert end(start(tmp_path, hang, parent), seconds=8) == [1, -signal.SIGKILL]


def test_strangers_are_not_heard(tmp_path):
    def stranger(watch):
        other = ProcessWatch(1, 2)
        other.join("127.0.0.1", watch._connections[0].getpeername()[1], "wrong word")
        other._send(0, {"failed": "no"})
        time.sleep(0.4)
        return finish(watch)

    def waiting(watch):
        time.sleep(0.8)
        return finish(watch)

    assert end(start(tmp_path, waiting, stranger)) == [0, 0]


def test_process_0_fails_at_the_same_time_and_ends_before_it_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        watch = ProcessWatch(1, 2)
        watch.join("127.0.0.1", server.getsockname()[1], "token")
        connection, _ = server.accept()
        with connection, connection.makefile("r") as lines:

            def process_0():
                while "failed" not in lines.readline():
                    pass
                connection.sendall(b'{"end": 0}\n')

            thread = threading.Thread(target=process_0)
            thread.start()
            began = time.monotonic()
            assert not watch.tell_failure("broken.png cannot be decoded")
            assert time.monotonic() - began < 4  # without waiting for an answer in vain
            thread.join()
