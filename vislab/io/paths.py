"""Expand environment variables in paths of configs: `$VISLAB_DATA/weights/file.pth`, `~/datasets`."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vislab.errors import ConfigError, DataError

DATA_VARIABLE = "VISLAB_DATA"


def expand(path: str | os.PathLike) -> str:
    """Expand environment variables and `~`; variables that are not set stay."""
    return os.path.expanduser(os.path.expandvars(path))


def expand_path(path: str, what: str = "data_root") -> str:
    """Expand environment variables and `~` in a path.

    Args:
        path: The path.
        what: Name of the setting in messages.

    Raises:
        DataError: The path has an environment variable that is not set.
    """
    expanded = expand(path)
    if "$" in expanded:
        name = expanded.split("$", 1)[1].split("/", 1)[0].strip("{}")
        raise DataError(
            f"{what}={path!r} uses the environment variable {name}, which is not set. "
            f"Set it (export {name}=/path/to/data) or set the path: --cfg-options {what}=/path"
        )
    return expanded


def refuse_source(out: str | os.PathLike, source: str | os.PathLike) -> None:
    """Raise ConfigError if `out` is the file `source`, which writing would replace."""
    if os.path.exists(out) and os.path.exists(source) and os.path.samefile(out, source):
        raise ConfigError(f"{out} is the source itself, and would be replaced: choose another name")


def usable_folder(path: str | os.PathLike, what: str = "work_dir") -> str:
    """Expand and create a folder, and check that it is writable.

    Args:
        path: Path of the folder.
        what: Name of the setting in messages.

    Raises:
        ConfigError: The folder cannot be created or written to.
        DataError: The path has an environment variable that is not set.
    """
    folder = expand_path(os.fspath(path), what)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except FileExistsError as error:
        raise ConfigError(f"{what}={folder!r} is a file; expected a folder: use another name") from error
    except OSError as error:
        raise ConfigError(
            f"{what}={folder!r} cannot be written to: {error.strerror or error}. Use a writable folder, or free disk "
            "space."
        ) from error
    return folder


def usable_file(path: str | os.PathLike, suffixes: Sequence[str] = (), what: str = "--out") -> str:
    """Expand the path of a file to write, create its folder, and check that it can be written; for before the work.

    Args:
        path: Path of the file.
        suffixes: The suffixes that name a format which can be written; empty for any.
        what: Name of the setting in messages.

    Raises:
        ConfigError: The path is a folder, has another suffix, or its folder cannot be created or written to.
        DataError: The path has an environment variable that is not set.
    """
    file = Path(expand_path(os.fspath(path), what))
    if suffixes and file.suffix.lower() not in suffixes:
        raise ConfigError(f"{what}={str(path)!r}: expected the name of a file that ends in {' or '.join(suffixes)}")
    if file.is_dir():
        raise ConfigError(f"{what}={str(path)!r} is a folder; expected the name of a file")
    usable_folder(file.parent, what)
    return str(file)
