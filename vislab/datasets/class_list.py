"""Checks the class names that a user passes to a dataset, `metainfo=dict(classes=[...])`.

Labels are indices into this list. Without it, each file or folder defines its own list, and the labels of a validation
set that lacks a class would be shifted with respect to training.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from vislab.errors import DataError, did_you_mean
from vislab.io.paths import expand_path


def given_classes(metainfo: Mapping[str, Any] | None, owner: str) -> tuple[str, ...] | None:
    """Return `metainfo["classes"]` as a tuple, or None if not set. A string is the path of a file, one name per line.

    Raises:
        DataError: Not a list of names, or a name occurs twice.
    """
    if metainfo and "CLASSES" in metainfo and "classes" not in metainfo:
        raise DataError(f"{owner}: metainfo has 'CLASSES', which is not used; the key is 'classes'")
    classes = (metainfo or {}).get("classes")
    if classes is None:
        return None
    if isinstance(classes, str):
        path = Path(expand_path(classes))
        if not path.is_file():
            raise DataError(
                f"{owner}: metainfo classes={classes!r} is not a file; expected a list of names, such as "
                f"['{classes}'], or a text file with one name per line"
            )
        classes = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return checked_names(classes, f"{owner}: metainfo classes")


def checked_names(classes: Any, place: str) -> tuple[str, ...]:
    """Return class names as a tuple.

    Raises:
        DataError: Not a list of strings, empty, or a name occurs twice.
    """
    if not isinstance(classes, list | tuple) or not classes or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{place}={classes!r}; expected a list of names")
    twice = next((name for i, name in enumerate(classes) if name in classes[:i]), None)
    if twice is not None:
        raise DataError(f"{place} contains {twice!r} twice; names must be unique")
    return tuple(classes)


def loose_name(name: str) -> str:
    """Return a class name for comparison: lower case, without spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", name.lower())


def class_index(name: str, given: Sequence[str], place: str) -> int:
    """Return the index of `name` in the `given` list.

    Raises:
        DataError: The name is not in the list; `place` is where it was found, for the message.
    """
    if name in given:
        return given.index(name)
    shown = ", ".join(map(str, given[:10])) + (", ..." if len(given) > 10 else "")
    raise DataError(
        f"{place} contains the class {name!r}, which is not one of the {len(given)} in metainfo=dict(classes=[...]): "
        f"{shown}{did_you_mean(name, given, '.')} Add it to the list, or rename it in the data"
    )


def warn_absent_classes(given: Sequence[str], own: Sequence[str], place: str) -> None:
    """Log a warning with the classes of the `given` list that do not occur in the data."""
    absent = [name for name in given if name not in own]
    if absent:
        shown = ", ".join(map(repr, absent[:10])) + (", ..." if len(absent) > 10 else "")
        text = f"{place} lacks {len(absent)} of the {len(given)} classes in metainfo: {shown}"
        print_log(text, logger="current", level=logging.WARNING)
