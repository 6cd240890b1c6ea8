"""Check the boxes of an annotated set and convert them to instances; one error reports all problems of a set."""

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from vislab.datasets.class_list import loose_name
from vislab.datasets.coco_entries import far_outside
from vislab.errors import DataError, did_you_mean
from vislab.structures import rotated_boxes as rb

_SHOWN = 10  # problems in a message
_LIMIT = 1e7  # pixels, larger than any image
_FLAT = 0.01  # pixels; corners on a line give sides of about 1e-13
ANGLE_LIMIT = math.pi + 1e-3  # of angles in radians; files round pi to 3.141593


class Entry(NamedTuple):
    """One object of an annotation file.

    Attributes:
        name: Class name; None for a region that belongs to no class and is ignored for all.
        box: 4 numbers (x1, y1, x2, y2), 5 (cx, cy, w, h, theta in radians, clockwise) or 8 (corners), in pixels.
        ignore: Whether metrics and losses ignore the object.
        place: File and line or number of the object, for messages.
        number: Id of the object in the file.
    """

    name: str | None
    box: tuple[float, ...]
    ignore: bool
    place: str
    number: int


class Problems:
    """Collects the problems of a set, to report them together."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        self.texts.append(text)

    def refuse(self) -> None:
        """Raise DataError if there are problems."""
        if self.texts:
            shown = self.texts[:_SHOWN]
            rest = [f"and {len(self.texts) - _SHOWN} more"] if len(self.texts) > _SHOWN else []
            count = "1 problem" if len(self.texts) == 1 else f"{len(self.texts)} problems"
            raise DataError("\n  ".join([f"{self.owner}: {count} in the annotations:", *shown, *rest]))


def is_number(word: str) -> bool:
    """Return whether a word is a number in ASCII digits, infinity or NaN; unlike `float`, without "1_0"."""
    if not word.isascii() or "_" in word:
        return False
    try:
        float(word)
    except ValueError:
        return False
    return True


def whole_number(word: str) -> int | None:
    """Return a word of up to nine digits as an integer, else None."""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 9 else None


def read_numbers(words: Sequence[str | float], place: str, problems: Problems) -> tuple[float, ...] | None:
    """Return words, or values of a JSON file, as finite numbers; None, with a problem, if one is not a number."""
    numbers = []
    for word in words:
        number = _to_float(word)
        if not -_LIMIT <= number <= _LIMIT:
            problems.add(f"{place}: {word!r} is not a coordinate in pixels")
            return None
        numbers.append(number)
    return tuple(numbers)


def _to_float(value: str | float) -> float:
    if isinstance(value, str):
        return float(value) if is_number(value) else math.nan
    if type(value) not in (int, float):  # a list, or true, which is an int for Python
        return math.nan
    return float(value) if abs(value) <= _LIMIT else math.inf  # longer integers do not fit into a float


def check_angle(theta: float, place: str, problems: Problems) -> bool:
    """Return whether an angle can be in radians; a problem is added if not."""
    if abs(theta) <= ANGLE_LIMIT:
        return True
    problems.add(
        f"{place}: the angle is {theta:g}, beyond pi: it seems to be in degrees. Expected radians in -pi..pi: multiply "
        "by pi / 180"
    )
    return False


def to_instances(
    entries: Sequence[Sequence[Entry]],
    sizes: Sequence[tuple[int, int]],
    classes: Sequence[str],
    problems: Problems,
) -> list[list[dict]]:
    """Convert the entries of each image to instances: dicts of rbbox or bbox, label, ignore, area and id.

    Class names are compared without case, spaces, hyphens and underscores. A region without a class becomes an ignored
    instance of each class. Boxes without area are skipped with one warning.

    Args:
        entries: Objects of each image.
        sizes: Height and width of each image.
        classes: Class names; labels are indices into them.
        problems: Receives unknown classes, and boxes with a negative side or in fractions or outside their image.
    """
    flat = [entry for row in entries for entry in row]
    owners = [i for i, row in enumerate(entries) for _ in row]
    size = np.array([sizes[i][::-1] for i in owners], np.float64).reshape(-1, 2)
    boxes, hulls, sides = _convert(flat)
    usable = _usable(flat, hulls, sides, size, problems)
    index = {loose_name(name): label for label, name in enumerate(classes)}
    result: list[list[dict]] = [[] for _ in entries]
    for i, entry, box, good in zip(owners, flat, boxes, usable.tolist(), strict=True):
        label = None if entry.name is None else index.get(loose_name(entry.name))
        if label is None and entry.name is not None:
            hint = did_you_mean(entry.name, classes)
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            problems.add(f"{entry.place}: unknown class {entry.name!r}{hint} (classes: {shown})")
        elif good:
            labels = range(len(classes)) if label is None else (label,)
            key = "bbox" if len(entry.box) == 4 else "rbbox"
            common = {key: box, "ignore": int(entry.ignore), "area": None, "id": entry.number}
            result[i] += [{**common, "label": k} for k in labels]
    return result


def _convert(entries: Sequence[Entry]) -> tuple[list[list[float]], np.ndarray, np.ndarray]:
    """Return boxes as lists (xyxy, or le90 boxes of 5 numbers), their hulls (N, 4) xyxy, and their sides (N, 2)."""
    boxes: list[list[float]] = [[] for _ in entries]
    hulls, sides = np.zeros((len(entries), 4)), np.zeros((len(entries), 2))
    for length, convert in ((4, np.array), (5, rb.from_radians), (8, rb.from_dota)):
        chosen = [i for i, entry in enumerate(entries) if len(entry.box) == length]
        if not chosen:
            continue
        given = np.array([entries[i].box for i in chosen], np.float64)
        converted = convert(given)
        hulls[chosen] = converted if length == 4 else rb.rboxes_to_hboxes(converted)
        sides[chosen] = given[:, 2:] - given[:, :2] if length == 4 else (given if length == 5 else converted)[:, 2:4]
        for i, box in zip(chosen, converted.tolist(), strict=True):
            boxes[i] = box
    return boxes, hulls, sides


def _usable(
    entries: Sequence[Entry], hulls: np.ndarray, sides: np.ndarray, size: np.ndarray, problems: Problems
) -> np.ndarray:
    """Return which entries (N,) have an area; adds a problem for each box outside its image of `size` (N, 2), w, h."""
    fractions = _are_fractions(entries, hulls, size)
    outside = (hulls[:, 2:] <= 0).any(axis=1) | (hulls[:, :2] >= size).any(axis=1) | far_outside(hulls, size)
    flat = (np.abs(sides) < _FLAT).any(axis=1) & ~fractions
    negative = (sides < 0).any(axis=1) & ~flat
    for i in np.flatnonzero(negative | fractions | (outside & ~flat)):
        if fractions[i]:
            text = f"the box is in fractions of the image: {_shown(entries[i].box)}; expected pixels"
        elif negative[i]:
            text = f"the box has a negative side: {_shown(entries[i].box)}"
        else:
            width, height = (int(n) for n in size[i])
            text = f"the box is outside the image of {height}x{width} (h x w): {_shown(entries[i].box)}"
        problems.add(f"{entries[i].place}: {text}")
    if flat.any():
        first = int(flat.argmax())
        print_log(
            f"{problems.owner}: {int(flat.sum())} of {len(flat)} boxes have no area (a side is 0) and are skipped, the "
            f"first is {entries[first].place}: {_shown(entries[first].box)}",
            logger="current",
            level=logging.WARNING,
        )
    return ~(flat | negative | outside | fractions)


def _are_fractions(entries: Sequence[Entry], hulls: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return which boxes (N,) lie in the first pixel or two of their image, with digits after the decimal point."""
    corner = (hulls >= -0.5).all(axis=1) & (hulls <= 1.5).all(axis=1) & (size > 8).all(axis=1)
    return corner & np.array([any(value % 1 for value in entry.box[:4]) for entry in entries], bool)


def _shown(box: Sequence[float]) -> str:
    return f"({', '.join(f'{number:g}' for number in box)})"
