"""Files from the network, whole or not at all: a broken download goes on where it stopped, and sums are compared."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from vislab.errors import DataError

_CHUNK = 1 << 20


def fetch(address: str, target: Path, *, md5: str | None = None, tries: int = 3) -> Path:
    """Bring `address` to `target`, unless it is there already.

    What has arrived lies in `target` + ".part" until it is complete; the next call goes on from there when the server
    can (Range), and starts anew when it cannot.

    Args:
        address: http(s) address.
        target: the file to write.
        md5: sum of the whole file, where it is known.
        tries: how often a connection that breaks is taken up again.

    Returns:
        `target`.

    Raises:
        DataError: the address cannot be reached, or what came is not complete or has another sum.
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
            error: Exception | str = f"it broke off after {part.stat().st_size:,} bytes"
        except urllib.error.HTTPError as found:
            if found.code == 416:  # nothing beyond what is here: it is complete, or another file than before
                part.unlink(missing_ok=True)
            elif found.code < 500:
                raise DataError(_unreachable(address, part, found)) from found
            error = found
        except (OSError, ValueError) as found:
            error = found
        if attempt == tries:
            raise DataError(_unreachable(address, part, error))


def _receive(address: str, part: Path) -> bool:
    """One connection; returns whether the file is complete."""
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
    kept = f" What has arrived stays in {part}: the same command goes on from there." if part.is_file() else ""
    return (
        f"cannot fetch {address}: {error}.{kept} Check the network, or fetch the file in another way (a browser, "
        "another machine) and give its path with --source"
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
            f"{address} is not the file that is expected: its md5 is {summed.hexdigest()}, expected {md5}. It was "
            "removed; fetch it again"
        )
