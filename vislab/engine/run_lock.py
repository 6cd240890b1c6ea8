"""One training at a time in a work folder: a lock that ends with its process, however that process ends.

`WORK_DIR/run.lock` names the process that trains there. The operating system contains the lock itself, so a file left
by a killed run never blocks. Evaluation takes no lock: it may write into the folder of a running training.
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
    """Keep other trainings out of `folder` for as long as the context lasts. Called on every rank; rank 0 locks.

    Raises:
        ConfigError: on every rank, when another run trains in this folder.
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
    """The lock of one folder, taken when the object is made.

    Args:
        folder: The work folder; it exists.

    Raises:
        ConfigError: another run contains the lock; the message names its process, host and start.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / LOCK_NAME
        self._descriptor = self._take()
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(_this_process()).encode(), 0)

    def release(self) -> None:
        """Give the folder back. Removing the file before the lock goes leaves no moment for two owners."""
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
            os.close(descriptor)  # its owner removed the file between opening and locking: try the new one

    def _lock(self, descriptor: int) -> None:
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "no file locks on this system")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in _HELD
            if held and _has_ended(_owner(descriptor)):
                time.sleep(0.3)  # the new owner of a stale file writes its name right after locking
            owner = _owner(descriptor)
            if _is_running(owner) or (held and not _has_ended(owner)):
                raise ConfigError(self._refusal(owner)) from None
            if held:  # data-loader workers that outlive their killed main process hold on to the old file
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
            f"another run is training in {self.path.parent} ({who}). Give this one a folder of its own with "
            "--work-dir, wait for the other to end, or stop it and go on from its last checkpoint with --resume."
        )


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "birth": _birth(os.getpid()),
    }


def _owner(descriptor: int) -> dict[str, Any]:
    """The process that wrote the lock file; empty when nothing readable is in it."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except (ValueError, OSError):
        return {}
    return owner if isinstance(owner, dict) and isinstance(owner.get("pid"), int) else {}


def _is_running(owner: dict[str, Any]) -> bool:
    """Whether the owner is known to live: a process of this machine, born when the file says."""
    return bool(owner) and owner.get("host") == socket.gethostname() and not _has_ended(owner)


def _has_ended(owner: dict[str, Any]) -> bool:
    """Whether the owner is known to be gone; of another machine's processes nothing is known."""
    if not owner or owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return owner.get("birth") != _birth(owner["pid"])  # the number was given to another process since


def _birth(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None where /proc does not say. A zombie counts as ended."""
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
