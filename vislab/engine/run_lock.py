"""A lock that prevents two training runs in the same work directory.

`WORK_DIR/run.lock` contains information about the training process. The lock is held by the operating system and
released when the process ends, so the file of a killed run does not block. Evaluation does not take the lock.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.logging import print_log

from vislab.engine.distributed import call_on_main
from vislab.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_NAME = "run.lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}


@contextmanager
def hold_work_dir(folder: str | os.PathLike) -> Iterator[None]:
    """Context manager that locks `folder` for training. Called on all ranks; rank 0 locks.

    Raises:
        ConfigError: Another run trains in this folder; raised on all ranks.
    """
    lock = None

    def take() -> None:
        nonlocal lock
        lock = RunLock(folder)

    call_on_main(take)
    try:
        yield
    finally:
        if lock is not None and is_main_process():
            lock.release()


class RunLock:
    """The lock of a folder, acquired by the constructor.

    Args:
        folder: An existing work directory.

    Raises:
        ConfigError: Another run has the lock; the message names its process, host and start time.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / LOCK_NAME
        self._descriptor = self._take()
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(_this_process()).encode(), 0)

    def release(self) -> None:
        """Release the lock. The file is removed first, so that there are never two owners."""
        if _is_file_at(self._descriptor, self.path):
            os.unlink(self.path)
        os.close(self._descriptor)

    def _take(self) -> int:
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise ConfigError(f"cannot write into the work folder {self.path.parent}: {error.strerror}") from error
            try:
                self._lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if _is_file_at(descriptor, self.path):
                return descriptor
            os.close(descriptor)  # the file was removed between opening and locking: retry

    def _lock(self, descriptor: int) -> None:
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "no file locks on this system")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in _HELD
            if held and _has_ended(_owner(descriptor)):
                time.sleep(0.3)  # the new owner of a stale file writes it right after locking
            owner = _owner(descriptor)
            if _is_running(owner) or (held and not _has_ended(owner)):
                raise ConfigError(self._refusal(owner)) from None
            if held:  # data loader workers of a killed process may still hold the old file
                os.unlink(self.path)
            else:
                print_log(
                    f"the file system of {self.path.parent} has no file locks ({error.strerror}): nothing keeps two "
                    "runs from training in this folder at the same time",
                    logger="current",
                    level=30,
                )

    def _refusal(self, owner: dict[str, Any]) -> str:
        who = "another process"
        if "pid" in owner:
            who = f"process {owner['pid']} on {owner.get('host')}, since {owner.get('began')}"
        return (
            f"another run is training in {self.path.parent} ({who}). Choose another folder with "
            "--work-dir, wait for the other to end, or stop it and continue from its last checkpoint with --resume."
        )


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "birth": _birth(os.getpid()),
    }


def _owner(descriptor: int) -> dict[str, Any]:
    """Return information about the process that wrote the lock file; empty if the file is invalid."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except (ValueError, OSError):
        return {}
    return owner if isinstance(owner, dict) and isinstance(owner.get("pid"), int) else {}


def _is_running(owner: dict[str, Any]) -> bool:
    """Return whether the owner is running: a process of this machine with the start time in the file."""
    return bool(owner) and owner.get("host") == socket.gethostname() and not _has_ended(owner)


def _has_ended(owner: dict[str, Any]) -> bool:
    """Return whether the owner has ended; False for processes of other machines."""
    if not owner or owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return owner.get("birth") != _birth(owner["pid"])  # the process id was reused


def _birth(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot; None if unknown. Zombies count as ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
