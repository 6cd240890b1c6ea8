"""Checksums of files that others publish without one: learned at the first download, compared at each later one."""

import json
from pathlib import Path

from vislab.errors import DataError
from vislab.io.atomic import write_text_atomically
from vislab.io.download import checksum, hold


def read_pins(path: Path) -> dict[str, dict[str, str]]:
    """Return {source: {"sha256": checksum, "file": path when it was computed}} of a pin file; {} if there is none.

    Raises:
        DataError: The file is damaged.
    """
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(pin["sha256"], str) and isinstance(pin["file"], str) for pin in pins.values()):
            return pins
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise DataError(f"{path} is damaged. Remove it: the checksums are then learned again")


def check_pin(source: str, file: Path, path: Path, *, expected: str = "") -> str:
    """Compare a downloaded file with the checksum pinned for its source, or pin it; returns the SHA256.

    A file at the path of the last time is not read again.

    Args:
        source: Address, or repository and file on the hub.
        file: The file.
        path: The pin file.
        expected: Checksum that the publisher states.

    Raises:
        DataError: The file is another one than published, or than at the first download.
    """
    real = str(file.resolve())
    known = read_pins(path).get(source)
    if known is not None and known["file"] == real and expected in ("", known["sha256"]):
        return known["sha256"]
    found = checksum(file)
    if expected and found != expected:
        raise DataError(f"{file} is not the file of {source}: its SHA256 is {found}, expected {expected}. Remove it")
    if not expected and known is not None and known["sha256"] != found:
        raise DataError(
            f"{source} is another file than at the first download: its SHA256 is {found}, and {known['sha256']} was "
            f"pinned in {path}. If its publisher has replaced it, remove this entry there"
        )
    with hold(path):
        pins = read_pins(path) | {source: {"sha256": found, "file": real}}
        write_text_atomically(json.dumps(pins, indent=1, sort_keys=True) + "\n", path)
    return found
