"""Download files with resumption of interrupted downloads and a checksum test."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from vislab.errors import DataError

_CHUNK = 1 << 20


def fetch(address: str, target: Path, *, md5: str | None = None, tries: int = 3) -> Path:
    """Download `address` to `target`, unless the file exists.

    Data is written to `target` + ".part" until the download is complete. The next call continues an interrupted
    download
    if the server supports range requests, and starts again otherwise.

    Args:
        address: http(s) address.
        target: Path of the file.
        md5: MD5 checksum of the file, if known.
        tries: Maximum number of connections.

    Returns:
        `target`.

    Raises:
        DataError: The address cannot be reached, or the file is incomplete or has another checksum.
    """
    target = Path(target)
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _download(address, part, tries)
    _compare(part, address, md5)
    os.replace(part, target)
    return target


def _download(address: str, part: Path, tries: int) -> None:
    for attempt in range(1, tries + 1):
        try:
            if _receive(address, part):
                return
            error: Exception | str = f"the connection was closed after {part.stat().st_size:,} bytes"
        except urllib.error.HTTPError as found:
            if found.code == 416:  # range not satisfiable: the part is complete, or of another version of the file
                part.unlink(missing_ok=True)
            elif found.code < 500:
                raise DataError(_unreachable(address, part, found)) from found
            error = found
        except (OSError, ValueError) as found:
            error = found
        if attempt == tries:
            raise DataError(_unreachable(address, part, error))


def _receive(address: str, part: Path) -> bool:
    """Receive data from one connection; returns whether the file is complete."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "vislab"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=60) as answer:
        going_on = have > 0 and answer.status == 206
        length = answer.headers.get("Content-Length")
        expected = None if length is None else int(length) + (have if going_on else 0)
        with open(part, "ab" if going_on else "wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
            file.flush()
            os.fsync(file.fileno())
    return expected is None or part.stat().st_size == expected


def _unreachable(address: str, part: Path, error: Exception | str) -> str:
    kept = f" The partial file is kept in {part}: the same command continues from there." if part.is_file() else ""
    return (
        f"cannot download {address}: {error}.{kept} Check the network, or download the file by other means (a browser, "
        "another machine) and pass its path with --source"
    )


def _compare(part: Path, address: str, md5: str | None) -> None:
    if md5 is None:
        return
    summed = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as file:
        while chunk := file.read(_CHUNK):
            summed.update(chunk)
    if summed.hexdigest() != md5:
        part.unlink()
        raise DataError(
            f"{address} is not the expected file: its MD5 is {summed.hexdigest()}, expected {md5}. It was "
            "removed; download it again"
        )
