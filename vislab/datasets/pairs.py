"""Finding the label file of each image: what the dense datasets share."""

from collections.abc import Sequence
from pathlib import Path

from vislab.errors import DataError


def pair_by_pattern(root: str | Path, images: str, labels: str) -> list[tuple[str, str, str]]:
    """Image and label files whose names differ only in what surrounds one `*`.

    Args:
        root: folder.
        images: pattern below it with one "*", such as "rgb/*.jpg" or "*.color.jpg"; "**" means in subfolders too.
        labels: pattern of the label files; what "*" or "**" stands for is the same.

    Returns:
        (name, image path, label path), sorted by name.

    Raises:
        DataError: no image matches, or an image has no label.
    """
    root = Path(root)
    star = "**" if "**" in images else "*"
    for setting, pattern in (("images", images), ("labels", labels)):
        if pattern.count(star) != 1 or pattern.replace(star, "").count("*"):
            raise DataError(
                f"{setting}={pattern!r} must hold {star!r} exactly once, where the name of the image stands"
            )
    before, after = images.split(star)
    found = (root / before.rpartition("/")[0]).rglob("*") if star == "**" else root.glob(images)
    pairs = []
    for path in found:
        text = path.relative_to(root).as_posix()
        if not (text.startswith(before) and text.endswith(after) and path.is_file()):
            continue
        name = text[len(before) : len(text) - len(after)]
        label = root / labels.replace(star, name)
        pairs.append((name, str(path), str(label)))
    if not pairs:
        raise DataError(f"no image in {root} matches {images!r}. data/README.md shows the tree that is expected.")
    present = _present(labels, root, star)
    missing = [label for _, _, label in pairs if label not in present]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(pairs)} images in {root} have no label file; the first one that is missing is "
            f"{missing[0]}"
        )
    return sorted(pairs)


def _present(pattern: str, root: Path, star: str) -> set[str]:
    """All files that could be labels, listed folder by folder: faster than asking for each."""
    folder = root / pattern.split(star)[0].rpartition("/")[0]
    files = folder.rglob("*") if star == "**" or "/" in pattern.split(star)[1] else folder.glob("*")
    return {str(path) for path in files}


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
