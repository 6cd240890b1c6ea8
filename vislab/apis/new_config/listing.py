"""Files of a folder: split into training and validation, and images paired with their label files."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vislab.io.listing import IMAGE_SUFFIXES, list_files, plain_ending

_WORDS = re.compile(
    r"(?:^|[^a-z])(?:(train|training)|(val|valid|validation)|(test|testing))"
    r"(?:annots?|annotations?|images?|labels?|masks?|set)?(?:$|[^a-z])"
)
_SAMPLED = 64  # images whose size is read


@dataclass(frozen=True)
class Pattern:
    """Files of one kind: paths match `glob`, with the text of its wildcard as their names."""

    glob: str
    names: frozenset[str]

    @property
    def first(self) -> str:
        """Path of the first file."""
        return self.glob.replace("**" if "**" in self.glob else "*", min(self.names))


@dataclass(frozen=True)
class Pairs:
    """Images and label files with the same names; `alone` are images without labels."""

    images: str
    labels: str
    names: list[str]
    alone: list[str]

    def paths(self, glob: str) -> list[str]:
        """Return the paths that `glob`, one of the two patterns, has for the names."""
        star = "**" if "**" in glob else "*"
        return [glob.replace(star, name) for name in self.names]


def relative_files(root: str | Path) -> list[str]:
    """Return the sorted paths of all files below `root`, relative to it, with "/"; hidden files are skipped.

    Raises:
        DataError: The folder cannot be read.
    """
    return sorted(os.path.relpath(path, root).replace(os.sep, "/") for path in list_files(root))


def split_files(files: Sequence[str], *, by_name: bool = False) -> dict[str, list[str]]:
    """Return the files of the "train" and "val" parts by words in their folders; {} unless there are files of both.

    The first folder with one of the words decides, so that no file is in two parts. Files of "test" are validation
    files only if there are none of "val", "valid" or "validation".

    Args:
        files: Paths.
        by_name: Look at the names of the files as well, as for `instances_train2017.json`. Names of images are left
            out, since they can contain anything (`train_station.jpg`).
    """
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for path in files:
        words = path.lower().split("/")
        found = next((match for word in (words if by_name else words[:-1]) if (match := _WORDS.search(word))), None)
        if found:
            parts[next(part for part, group in zip(parts, found.groups(), strict=True) if group)].append(path)
    val = parts["val"] or parts["test"]
    return {"train": parts["train"], "val": val} if parts["train"] and val else {}


def pair_files(
    files: Sequence[str], label_suffixes: Iterable[str], is_label: Callable[[str], bool] = lambda path: True
) -> Pairs | None:
    """Return the images and label files that have most names in common, or None if none have.

    Files of one kind share what precedes and what follows their names: `rgb/*.jpg` and `depth/*.png`, `*.color.jpg` and
    `*.depth.png`, `leftImg8bit/train/**_leftImg8bit.png` and `gtFine/train/**_gtFine_labelIds.png`.

    Args:
        files: Paths relative to the folder of the dataset.
        label_suffixes: Suffixes of label files.
        is_label: Called with one file of each kind with such a suffix, tells labels from images.
    """
    labels = [pattern for pattern in _patterns(files, label_suffixes) if is_label(pattern.first)]
    taken = {pattern.glob for pattern in labels}
    images = [pattern for pattern in _patterns(files, IMAGE_SUFFIXES) if pattern.glob not in taken]
    best, score = None, ()
    for image in images:
        for label in labels:
            common = len(image.names & label.names)
            # of patterns with the same pairs: without images that are left over, then the simplest one
            rank = common, -len(image.names), "**" not in image.glob, -len(image.glob) - len(label.glob)
            if common and (best is None or rank > score):
                best, score = (image, label), rank
    if best is None:
        return None
    image, label = best
    return Pairs(image.glob, label.glob, sorted(image.names & label.names), sorted(image.names - label.names))


def _patterns(files: Sequence[str], suffixes: Iterable[str]) -> list[Pattern]:
    """Return the patterns that at least a twentieth of the files of one suffix match."""
    suffixes = tuple(suffixes)
    found: dict[str, set[str]] = defaultdict(set)
    chosen = [path for path in map(plain_ending, files) if path.endswith(suffixes)]
    for path in chosen:
        parts = path.split("/")
        folder, name = "/".join([*parts[:-1], ""]), parts[-1]
        starts = [0] + [match.end() for match in re.finditer(r"[a-zA-Z]+[_-]", name) if match.start() == 0]
        ends = [match.start() for match in re.finditer(r"[._-](?=[^/]*$)", name)][-4:]
        for start in starts:
            for end in (end for end in ends if end > start):
                found[f"{folder}{name[:start]}*{name[end:]}"].add(name[start:end])
        for depth in range(len(parts) - 1):  # "**": the name contains folders
            for end in ends[-3:]:
                above = "/".join([*parts[:depth], ""]).lstrip("/")
                found[f"{above}**{name[end:]}"].add("/".join([*parts[depth:-1], name[:end]]))
    least = max(1, len(chosen) // 20)
    return [Pattern(glob, frozenset(names)) for glob, names in found.items() if len(names) >= least]


def image_sizes(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], list[str]]:
    """Return (height, width) of up to 64 evenly spaced images, from their headers, and the paths that are no images."""
    sizes, odd = [], []
    for path in paths[:: max(1, len(paths) // _SAMPLED)]:
        try:
            with Image.open(path) as image:
                sizes.append((image.height, image.width))
        except (OSError, ValueError, SyntaxError):
            odd.append(str(path))
    return sizes, odd
