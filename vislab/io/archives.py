"""Read files inside .zip archives without unpacking, by paths such as `sets/cifar.zip/train/cat/1.jpg`."""

import os
import threading
import zipfile
import zlib
from pathlib import Path

from vislab.errors import DataError

_open: dict[tuple[str, int, int, int], zipfile.ZipFile] = {}
"""Open archives by path, modification time, process and thread, which must not share a file position."""


def split_archive(path: str | Path) -> tuple[str, str] | None:
    """Split a path into the archive and the name inside it ("" for the root); None if it is not inside a .zip file."""
    head, dot, tail = str(path).partition(".zip")
    if not dot or tail[:1] not in ("", "/") or not os.path.isfile(head + dot):
        return None
    return head + dot, tail.strip("/")


def read_member(archive: str, name: str) -> bytes:
    """Return the content of a file in an archive.

    Raises:
        DataError: The archive is damaged or has no such file.
    """
    try:
        return _archive(archive).read(name)
    except KeyError:
        raise DataError(f"{archive} contains no file {name!r}: check data_root and split") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # RuntimeError: encrypted
        raise DataError(f"cannot read {name!r} of {archive} ({error}): download the archive again") from error


def list_members(archive: str, folder: str) -> list[str]:
    """Return the names of all files below a folder of the archive, relative to that folder."""
    start = f"{folder}/" if folder else ""
    names = (name[len(start) :] for name in _archive(archive).namelist() if name.startswith(start))
    return [name for name in names if name and not name.endswith("/")]


def member_checksum(archive: str, name: str) -> tuple[int, int]:
    """Return size and CRC-32 of a file in an archive, from its directory.

    Raises:
        DataError: The archive is damaged or has no such file.
    """
    try:
        found = _archive(archive).getinfo(name)
    except KeyError:
        raise DataError(f"{archive} contains no file {name!r}: check data_root and split") from None
    return found.file_size, found.CRC


def _archive(path: str) -> zipfile.ZipFile:
    key = path, os.stat(path).st_mtime_ns, os.getpid(), threading.get_ident()
    if key not in _open:
        try:
            _open[key] = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is not a readable zip archive ({error}): download it again") from error
    return _open[key]
