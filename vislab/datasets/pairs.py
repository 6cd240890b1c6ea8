"""Match images with their label files, read lists, and check that files exist."""

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from vislab.errors import DataError
from vislab.io.listing import list_files, plain_ending


def pair_by_pattern(root: str | Path, images: str, labels: str) -> list[tuple[str, str, str]]:
    """Return pairs of image and label files that match two patterns with the same text for `*`.

    Suffixes match in lower and upper case and in all spellings (.jpg, .JPG, .jpeg); hidden files are skipped. Label
    files without an image are reported in a warning, since their images may have another suffix.

    Args:
        root: Folder.
        images: Pattern of the images below `root` with one "*", such as "rgb/*.jpg" or "*.color.jpg"; "**" also matches
            in subfolders.
        labels: Pattern of the label files with the same wildcard.

    Returns:
        (name, image path, label path) tuples, sorted by name, the text of the wildcard.

    Raises:
        DataError: No image matches, two images have the same name, an image has no label, or a folder cannot be read.
    """
    root = Path(root)
    star = "**" if "**" in images else "*"
    for setting, pattern in (("images", images), ("labels", labels)):
        if pattern.count(star) != 1 or pattern.replace(star, "").count("*"):
            raise DataError(f"{setting}={pattern!r} must contain {star!r} exactly once, in place of the image name")
    found = _matches(root, images, star)
    if not found:
        raise DataError(f"no image in {root} matches {images!r}. data/README.md shows the expected layout.")
    twins = next((paths for paths in found.values() if len(paths) > 1), None)
    if twins:
        raise DataError(f"{twins[0]} and {twins[1]} are two images with the same name: remove or rename one of them")
    present = _matches(root, labels, star)
    missing = [str(root / labels.replace(star, name)) for name in sorted(found) if name not in present]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(found)} images in {root} have no label file; the first missing one is {missing[0]}"
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
    """Return paths by the text of the wildcard; exact matches come first."""
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
    """Return the lines of a list file, split at whitespace; empty lines are skipped.

    Args:
        path: Path of the file.
        columns: Names of the required columns; additional columns are ignored.

    Raises:
        DataError: The file is missing, empty or no text, or a line is too short.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read the list {path}: {reason}. Check ann_file and data_root.") from None
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


def require_files(paths: list[str], what: str, key: str) -> None:
    """Raise DataError if files are missing; `what` and `key` name them and the setting of their folder.

    Folders are listed once, since checking each file of COCO would take minutes on a network file system.
    """
    wanted = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        wanted[folder].add(name)
    for folder, names in wanted.items():
        try:
            with os.scandir(folder or ".") as entries:
                names = names - {entry.name for entry in entries}
        except OSError as error:
            raise DataError(
                f"the folder of {what} {folder!r} cannot be read ({error.strerror}): check {key}"
            ) from error
        if names:
            first = os.path.join(folder, min(names))
            raise DataError(f"{len(names)} of {len(paths)} {what} are missing, the first is {first}: check {key}")
