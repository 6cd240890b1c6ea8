"""Download files with resumption of interrupted downloads and a checksum test."""

import errno
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.response import addinfourl

from vislab.errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_CHUNK = 1 << 20
_PAUSE = 0.5  # seconds before the second connection / 2


def is_offline() -> bool:
    """Return whether VISLAB_OFFLINE forbids downloads."""
    return bool(os.environ.get("VISLAB_OFFLINE"))


def is_address(text: Any) -> bool:
    """Return whether `text` is an http(s) URL."""
    return isinstance(text, str) and text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """Return the name of the file at an address: the last part of its path, whatever a server may call it.

    Raises:
        DataError: There is none that a file in any folder can have.
    """
    name = unquote(urlsplit(address).path).replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", "..") or not name.isprintable() or set(name) & set('<>:"|?*'):
        raise DataError(f"{address} does not end with the name of a file")
    return name


def inner_path(name: str, source: str) -> PurePosixPath:
    """Return a path that an archive or a list states, which must lead to a file below its folder.

    Args:
        name: The path, with slashes.
        source: Its origin, for the message.

    Raises:
        DataError: It leads out of the folder.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DataError(f"{source} is refused: its file {name!r} would be written outside of the folder")
    return path


def fetch(
    address: str,
    target: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    tries: int = 3,
    by_hand: str | None = None,
) -> Path:
    """Download `address` to `target`, unless the file exists.

    Data is written to `target` + ".part" until the download is complete and its checksum is right. The next call
    continues an interrupted download if the server supports range requests and still has the same file (its ETag or
    date), and starts again otherwise. Of several processes, one downloads and the others wait for it. Proxies are as in
    `open_address`.

    Args:
        address: http(s) address.
        target: Path of the file.
        md5, sha256: Checksums of the file, if known, or their first digits, at least 8.
        tries: Maximum number of connections; the pauses between them get longer.
        by_hand: What to do with a file that was downloaded by other means, for messages. Default: put it at `target`.

    Returns:
        `target`.

    Raises:
        DataError: The address cannot be reached or is not http(s), VISLAB_OFFLINE is set, or the file is incomplete or
            has another checksum.
    """
    target = Path(target)
    if target.is_file():
        return target
    by_hand = by_hand or f"put it at {target}"
    if not is_address(address):
        raise DataError(f"{address} is no http(s) address")
    if is_offline():
        raise DataError(f"VISLAB_OFFLINE is set, but {target} is missing: download {address}, and {by_hand}")
    part = target.with_name(target.name + ".part")
    with hold(part):
        if not target.is_file():  # else another process was faster
            try:
                _download(address, part, tries, checked=bool(md5 or sha256))
            except _Unreachable as error:
                raise DataError(_unreachable(address, part, error, by_hand)) from error.__cause__
            for kind, expected in (("md5", md5), ("sha256", sha256)):
                _compare(part, address, kind, expected)
            os.replace(part, target)
            _validator(part).unlink(missing_ok=True)
    return target


def open_address(address: str, headers: Mapping[str, str] | None = None, *, timeout: float = 60) -> addinfourl:
    """Return the response to a GET request.

    Proxies are those that the environment variables http_proxy, https_proxy and no_proxy name at the time of the call;
    `urllib.request.urlopen` keeps those of its first call.

    Raises:
        OSError, ValueError, http.client.HTTPException: As `urllib.request.urlopen`.
    """
    request = urllib.request.Request(address, headers={"User-Agent": "vislab", **(headers or {})})
    return urllib.request.build_opener().open(request, timeout=timeout)


def proxy_note(address: str) -> str:
    """Return " through the proxy HOST:PORT (http_proxy, no_proxy)" for messages; "" without a proxy."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    host = parts.netloc.rpartition("@")[2]
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2]} ({parts.scheme}_proxy, no_proxy)"  # without its password


@contextmanager
def hold(target: Path) -> Iterator[None]:
    """Let one process at a time work on `target`; without effect where the system or the disk has no locks."""
    path = target.with_name(target.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "w")  # noqa: SIM115  closed below
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # of a process that has ended its work and removed the file
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


class _Unreachable(Exception):
    """A download failed for the reason that the text states."""


def _validator(part: Path) -> Path:
    """Return the path of the file with the ETag or date that belongs to a partial file."""
    return part.with_name(part.name + ".etag")


def _download(address: str, part: Path, tries: int, *, checked: bool) -> None:
    for attempt in range(1, tries + 1):
        try:
            if _receive(address, part, checked=checked):
                return
            error: Exception | str = f"the connection was closed after {part.stat().st_size:,} bytes"
        except urllib.error.HTTPError as found:
            if found.code == 416:  # range not satisfiable: the part is complete, or of another version of the file
                part.unlink(missing_ok=True)
            elif found.code < 500:
                raise _Unreachable(found) from found
            error = found
        except (OSError, ValueError, http.client.HTTPException) as found:
            error = found
            if isinstance(found, OSError) and found.errno == errno.ENOSPC:
                raise DataError(f"{part}: no space left on the disk; free some, and run the command again") from found
        if attempt == tries:
            raise _Unreachable(error)
        time.sleep(_PAUSE * 2**attempt)


def _receive(address: str, part: Path, *, checked: bool) -> bool:
    """Receive data from one connection; returns whether the file is complete.

    A partial file is continued if a checksum will tell, or the server has an ETag or date of the file.
    """
    validator = _validator(part)
    have = part.stat().st_size if part.is_file() and (checked or validator.is_file()) else 0
    headers = {"Accept-Encoding": "identity"}
    if have:  # If-Range: the whole file, if it is another one now
        headers["Range"] = f"bytes={have}-"
        if validator.is_file():
            headers["If-Range"] = validator.read_text()
    with open_address(address, headers) as answer:
        going_on = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
        length = answer.headers.get("Content-Length")
        expected = None if length is None else int(length) + (have if going_on else 0)
        if not going_on:
            validator.unlink(missing_ok=True)
            tag = answer.headers.get("ETag") or ""
            if known := tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified"):
                validator.write_text(known)
        with open(part, "ab" if going_on else "wb") as file, _progress_bar(part, file.tell(), expected) as advance:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    return expected is None or part.stat().st_size == expected


@contextmanager
def _progress_bar(part: Path, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while a file is received, if stderr is a terminal; yields the function that adds received bytes."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = [*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(part.name.removesuffix(".part"), completed=done, total=total)
        yield lambda count: bar.advance(task, count)


def _unreachable(address: str, part: Path, error: Exception, by_hand: str) -> str:
    kept = f" The partial file is kept in {part}: the same command continues from there." if part.is_file() else ""
    return (
        f"cannot download {address}{proxy_note(address)}: {error}.{kept} Check the network, or download the file by "
        f"other means (a browser, another machine), and {by_hand}"
    )


def checksum(path: Path, kind: str = "sha256") -> str:
    """Return the checksum of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return _digest(file, kind)


def _compare(part: Path, address: str, kind: str, expected: str | None) -> None:
    if not expected:
        return
    if len(expected) < 8:
        raise ValueError(f"{kind}={expected!r} has too few digits to recognize a file")
    found = checksum(part, kind)
    if not found.startswith(expected):
        part.unlink()
        _validator(part).unlink(missing_ok=True)
        raise DataError(
            f"{address} is not the expected file: its {kind.upper()} is {found}, expected {expected}. It was "
            "removed; download it again"
        )


def _digest(file: BinaryIO, kind: str) -> str:
    summed = hashlib.new(kind, usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        summed.update(chunk)
    return summed.hexdigest()
