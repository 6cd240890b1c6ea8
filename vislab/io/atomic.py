"""Write files atomically, so that a path has either its old or its new content, and remove leftovers of killed runs."""

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vislab.errors import CheckpointError

TEMPORARY_SUFFIX = ".tmp"
_LEFTOVER = re.compile(r"(\.pth|\.json|^last_checkpoint)\.\d+\.tmp$")
_LIVING_TEST = 3600  # seconds; younger files may belong to a running evaluation


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a binary file, which replaces `path` atomically when it is complete.

    Raises:
        CheckpointError: The file cannot be written; an existing file at `path` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error}. Is the disk full or the folder read-only? What was saved before is "
            "untouched."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # sync the directory entry
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text_atomically(text: str, path: str | os.PathLike) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def copy_atomically(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy a file atomically."""
    with open(source, "rb") as stream:
        write_atomically(target, lambda file: shutil.copyfileobj(stream, file))


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Delete incomplete files of killed runs in `folder`, which no other run may use; returns their paths."""
    removed = []
    for path in Path(folder).iterdir():
        if not _LEFTOVER.search(path.name):
            continue
        try:
            if ".json." in path.name and time.time() - path.stat().st_mtime < _LIVING_TEST:
                continue
            path.unlink()
        except FileNotFoundError:  # renamed by its writer in the meantime
            continue
        removed.append(path)
    return removed
