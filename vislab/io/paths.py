"""Paths that a config may write with environment variables: `$VISLAB_DATA/weights/file.pth`, `~/sets`."""

import os
import tempfile

from vislab.errors import ConfigError, DataError

DATA_VARIABLE = "VISLAB_DATA"


def expand_path(path: str, what: str = "data_root") -> str:
    """Replace environment variables and `~` in a path.

    Args:
        path: The path.
        what: The setting it comes from, for the message.

    Raises:
        DataError: the path names an environment variable that is not set.
    """
    expanded = os.path.expanduser(os.path.expandvars(path))
    if "$" in expanded:
        name = expanded.split("$", 1)[1].split("/", 1)[0].strip("{}")
        raise DataError(
            f"{what}={path!r} uses the environment variable {name}, which is not set. "
            f"Set it (export {name}=/path/to/data) or give the path itself: --cfg-options {what}=/path"
        )
    return expanded


def usable_folder(path: str | os.PathLike, what: str = "work_dir") -> str:
    """The folder, variables in it expanded, created and tried by writing a file that is gone at once.

    Args:
        path: The folder.
        what: The setting it comes from, for the message.

    Raises:
        ConfigError: it cannot be created or written.
        DataError: the path names an environment variable that is not set.
    """
    folder = expand_path(os.fspath(path), what)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
    except FileExistsError as error:
        raise ConfigError(f"{what}={folder!r} is a file, and a folder is needed: give another name") from error
    except OSError as error:
        raise ConfigError(
            f"{what}={folder!r} cannot be written to: {error.strerror or error}. Give a folder that can, or make room."
        ) from error
    return folder
