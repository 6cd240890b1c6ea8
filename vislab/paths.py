"""Paths that a config may write with environment variables: `$VISLAB_DATA/weights/file.pth`, `~/sets`."""

import os

from vislab.errors import DataError

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
