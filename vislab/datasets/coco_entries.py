"""Checks the entries of COCO files: a value is understood, or refused in one message that names its entry.

Exporters disagree on details, so what has one meaning is accepted: `null` for "not given", whole numbers written as
text or with a decimal point, `true` for 1, one flat list for one polygon, colors as "#rrggbb".
"""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from vislab.errors import DataError

_NUMBERS = (int, float)
_LIMIT = 1e7  # pixels; no image is larger, and comparing also finds NaN, infinity and integers beyond float's range
# a label that ends more than one image length outside of its image belongs to another image, or to another size of it
FAR = 1.0


def read_json(path: str, keys: Sequence[str]) -> dict:
    """Returns the content of a COCO file, an object with a list under each of `keys`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not JSON, or not of this form.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a readable JSON file: {error}") from error
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{path} is not a COCO annotation file: it has no list {' and no list '.join(missing)}")
    return content


def objects(content: dict, key: str, path: str) -> list[dict]:
    """Returns the list `content[key]`, all of whose entries are JSON objects; an absent list is empty."""
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DataError(f"{path}: {key} is {shown(entries)}, expected a list")
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise DataError(f"{path}: {key}[{index}] is {shown(entry)}, expected an object in braces")
    return entries


def identifier(value: Any, place: str, key: str) -> int | str:
    """Returns an id by which entries are matched: whole numbers, however written, as int; other text as it is."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and value:
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value
    raise DataError(f"{place} has {key} {shown(value)}, expected a whole number or a text")


def find(table: dict, entry: dict, key: str, place: str, what: str) -> Any:
    """Returns `table[entry[key]]`.

    Args:
        table: By `identifier`.
        entry: An annotation or a segment.
        key: image_id or category_id.
        place: For messages.
        what: The end of the message about an id that is not in the table.
    """
    value = entry.get(key)
    number = value if type(value) is int else identifier(value, place, key)
    try:
        return table[number]
    except KeyError:
        raise DataError(f"{place} has {key} {value!r}, which {what}") from None


def flag(value: Any, place: str, key: str) -> int:
    """Returns 0 or 1; null is 0."""
    if value in (0, 1, None):
        return int(value or 0)
    if value in ("0", "1"):
        return int(value)
    raise DataError(f"{place} has {key} {shown(value)}, expected 0 or 1")


def side(value: Any, place: str, key: str) -> int | None:
    """Returns the height or width of an image in pixels; None when it is unknown: null or below 1."""
    if value is None:
        return None
    if type(value) is str and re.fullmatch(r"\s*-?\d{1,9}(\.0*)?\s*", value):
        value = float(value)
    if type(value) not in _NUMBERS or not -_LIMIT <= value <= _LIMIT or value != int(value):
        raise DataError(f"{place} has {key} {shown(value)}, expected pixels, or null when it is unknown")
    return int(value) if value >= 1 else None


def area(value: Any, place: str) -> float | None:
    """Returns an area in square pixels; None when it is unknown: null, NaN or below 0 (as of a polygon backwards)."""
    if value is None:
        return None
    if type(value) not in _NUMBERS or value > _LIMIT**2:
        raise DataError(f"{place} has area {shown(value)}, expected square pixels, or null when it is unknown")
    return float(value) if value >= 0 else None


def text(value: Any, place: str, key: str) -> str:
    """Returns a name; a number stands for its digits."""
    if type(value) is str and value and "\0" not in value:
        return value
    if type(value) is int:
        return str(value)
    raise DataError(f"{place} has {key} {shown(value)}, expected a text")


def is_box(value: Any) -> bool:
    """Whether a value is a list of four finite numbers."""
    if type(value) is not list or len(value) != 4:
        return False
    return all(type(number) in _NUMBERS and -_LIMIT <= number <= _LIMIT for number in value)


def segmentation(value: Any, place: str) -> list | dict | None:
    """Returns polygons or run lengths, whose numbers `decode_mask` checks; None when there are none."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return [value] if type(value[0]) in _NUMBERS else value
    if isinstance(value, dict) and "counts" in value:
        return value
    raise DataError(f"{place} has segmentation {shown(value)}, expected polygons or run lengths")


def palette(categories: Sequence[dict], path: str) -> tuple[tuple[int, int, int], ...] | None:
    """Returns the colors of all categories, RGB 0..255; None where the file does not give all of them."""
    colors = [_color(category.get("color")) for category in categories]
    unreadable = [c for c, color in zip(categories, colors, strict=True) if color is None and c.get("color")]
    if unreadable:
        print_log(
            f"{path}: category {unreadable[0]['id']!r} has color {shown(unreadable[0]['color'])}, expected three "
            "numbers 0..255: the file's colors are not used",
            logger="current",
            level=logging.WARNING,
        )
    return tuple(colors) if colors and all(colors) else None


def _color(value: Any) -> tuple[int, int, int] | None:
    if type(value) is str and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return tuple(bytes.fromhex(value[1:]))
    if type(value) is list and len(value) == 3 and all(type(v) in _NUMBERS and 0 <= v <= 255 for v in value):
        return tuple(int(v) for v in value)
    return None


def check_boxes(boxes: Sequence[list], sides: Sequence[tuple], names: Sequence[Any], path: str) -> None:
    """Looks at all boxes of a file together, for what no single box shows.

    Args:
        boxes: N lists x, y, width, height.
        sides: Width and height of the image of each box; None for an unknown side.
        names: Annotation ids.
        path: Of the file.

    Raises:
        DataError: the boxes are shares of the image instead of pixels, or corners instead of x, y, width, height, or
            one lies far outside of its image.
    """
    if not boxes:
        return
    xywh = np.array(boxes, np.float64)
    size = np.array(sides, np.float64)  # None becomes NaN, with which every comparison is false
    if (xywh <= 1).all() and (xywh >= 0).all() and (xywh % 1 > 0).any():
        raise DataError(
            f"{path}: no bbox has a number above 1: they look like shares of the image (annotation {names[0]}: "
            f"{boxes[0]}). Expected [x, y, width, height] in pixels: multiply by the image's width and height"
        )
    end = xywh[:, :2] + xywh[:, 2:]
    over = (np.maximum(end - size, -xywh[:, :2]) / size).max(axis=1)  # share of the image that lies beyond its edge
    beyond = over > 0.05
    corners = (xywh[:, 2:] > xywh[:, :2]).all(axis=1) & ~(xywh[:, 2:] > size + 1).any(axis=1)
    count = int(beyond.sum())
    if count >= max(3, len(boxes) / 4) and corners.all() and not np.isnan(size).any():
        raise DataError(
            f"{path}: {count} of {len(boxes)} boxes end outside of their image, but all fit as [x1, y1, x2, y2] "
            f"(annotation {names[int(beyond.argmax())]}: {boxes[int(beyond.argmax())]}). Expected [x, y, width, "
            "height]: convert them, w = x2 - x1 and h = y2 - y1"
        )
    far = far_outside(np.concatenate([xywh[:, :2], end], axis=1), size)
    if far.any():
        i = int(far.argmax())
        width, height = (int(n) for n in size[i])
        raise DataError(
            f"{path}: annotation {names[i]} has bbox {boxes[i]} ([x, y, width, height]), far outside of its image of "
            f"{height}x{width} (h x w, as the file says): boxes and sizes do not belong together"
        )
    if (over > 0.1).any():
        i = int(np.nanargmax(over))
        count = int((over > 0.1).sum())
        print_log(
            f"{path}: {count} of {len(boxes)} boxes reach over the edge of their image by more than a tenth of it and "
            f"are cut there, the farthest is that of annotation {names[i]}: {boxes[i]}. Are they [x, y, width, height] "
            "in pixels of these images?",
            logger="current",
            level=logging.WARNING,
        )


def far_outside(boxes: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns which boxes (N, 4) xyxy end more than one image length outside of an image; size is (..., 2), w and h."""
    reach = FAR * size.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return ((boxes[:, 2:] > size + reach) | (boxes[:, :2] < -reach)).any(axis=1)


def shown(value: Any) -> str:
    """Returns a value as JSON would show it, shortened to one line."""
    words = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
