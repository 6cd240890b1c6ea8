"""Finding the label file of each image: what the dense datasets share."""

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from vislab.errors import DataError
from vislab.io.listing import list_files, plain_ending


def pair_by_pattern(root: str | Path, images: str, labels: str) -> list[tuple[str, str, str]]:
    """Returns image and label files whose names differ only in what surrounds one `*`.

    Suffixes match in any case of letters and spelling (.jpg, .JPG, .jpeg); hidden files are passed over. A warning says
    how many label files have no image, which is how images with another suffix come to light.

    Args:
        root: folder.
        images: pattern below it with one "*", such as "rgb/*.jpg" or "*.color.jpg"; "**" means in subfolders too.
        labels: pattern of the label files; what "*" or "**" stands for is the same.

    Returns:
        (name, image path, label path), sorted by name.

    Raises:
        DataError: no image matches, two images have one name, an image has no label, or a folder cannot be read.
    """
    root = Path(root)
    star = "**" if "**" in images else "*"
    for setting, pattern in (("images", images), ("labels", labels)):
        if pattern.count(star) != 1 or pattern.replace(star, "").count("*"):
            raise DataError(
                f"{setting}={pattern!r} must hold {star!r} exactly once, where the name of the image stands"
            )
    found = _matches(root, images, star)
    if not found:
        raise DataError(f"no image in {root} matches {images!r}. data/README.md shows the tree that is expected.")
    twins = next((paths for paths in found.values() if len(paths) > 1), None)
    if twins:
        raise DataError(f"{twins[0]} and {twins[1]} are two images of one name: remove or rename one of them")
    present = _matches(root, labels, star)
    missing = [str(root / labels.replace(star, name)) for name in sorted(found) if name not in present]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(found)} images in {root} have no label file; the first one that is missing is "
            f"{missing[0]}"
        )
    alone = sorted(present.keys() - found.keys())
    if alone:
        print_log(
            f"{root}: {len(alone)} of {len(present)} label files have no image that matches {images!r}, the first is "
            f"{present[alone[0]][0]}",
            logger="current",
            level=logging.WARNING,
        )
    return [(name, found[name][0], present[name][0]) for name in sorted(found)]


def _matches(root: Path, pattern: str, star: str) -> dict[str, list[str]]:
    """Paths by the name that stands for the star; one that matches to the letter comes first."""
    before, after = pattern.split(star)
    after_plain = plain_ending(after)
    inside = before.rpartition("/")[0]
    folder = root / inside
    if not folder.is_dir():
        return {}
    found: dict[str, list[str]] = defaultdict(list)
    for path in list_files(folder, deep=star == "**" or "/" in after):
        text = path[len(str(folder)) :].lstrip(os.sep).replace(os.sep, "/")
        text = f"{inside}/{text}" if inside else text
        plain = plain_ending(text)
        name = plain[len(before) : len(plain) - len(after_plain)]
        if before + name + after_plain != plain or not name or (star == "*" and "/" in name):
            continue
        exact = text == before + name + after
        found[name].insert(0 if exact else len(found[name]), path)
    return found


def read_list(path: str | Path, columns: Sequence[str]) -> list[list[str]]:
    """Lines of a list file, split at white space; empty lines are skipped.

    Args:
        path: the file.
        columns: names of the columns that each line must have; more are ignored.

    Raises:
        DataError: the file is missing or empty, or a line is too short.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise DataError(
            f"cannot read the list {path}: {error.strerror or error}. Check ann_file and data_root."
        ) from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) < len(columns):
            raise DataError(f"{path}, line {number}: {line.strip()!r} is not {' '.join(columns)!r}")
        rows.append(parts)
    if not rows:
        raise DataError(f"the list {path} is empty")
    return rows
