"""Parse and check the entries of COCO files; invalid values raise an error that names the entry.

Exporters differ in details, so unambiguous variants are accepted: `null` for missing values, integers written as text
or with a decimal point, `true` for 1, a flat list for a single polygon, colors as "#rrggbb".
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
_LIMIT = 1e7  # pixels, larger than any image; the comparison also rejects NaN, infinity and huge integers
# a label more than one image length outside its image belongs to another image, or to another size of it
FAR = 1.0


def read_json(path: str, keys: Sequence[str]) -> dict:
    """Return the content of a COCO file, an object with a list under each of `keys`.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file is not JSON, or lacks one of the lists.
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
    """Return the list `content[key]`, whose entries must be JSON objects; an empty list if it is missing."""
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DataError(f"{path}: {key} is {shown(entries)}, expected a list")
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise DataError(f"{path}: {key}[{index}] is {shown(entry)}, expected an object in braces")
    return entries


def identifier(value: Any, place: str, key: str) -> int | str:
    """Return an id for matching entries: integers in any notation as int, other strings unchanged."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and value:
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value
    raise DataError(f"{place} has {key} {shown(value)}, expected a whole number or a text")


def find(table: dict, entry: dict, key: str, place: str, what: str) -> Any:
    """Return `table[entry[key]]`.

    Args:
        table: Values by `identifier`.
        entry: An annotation or a segment.
        key: image_id or category_id.
        place: Name of the entry in error messages.
        what: End of the error message for an id that is not in the table.
    """
    value = entry.get(key)
    number = value if type(value) is int else identifier(value, place, key)
    try:
        return table[number]
    except KeyError:
        raise DataError(f"{place} has {key} {value!r}, which {what}") from None


def flag(value: Any, place: str, key: str) -> int:
    """Return 0 or 1; null is 0."""
    if value in (0, 1, None):
        return int(value or 0)
    if value in ("0", "1"):
        return int(value)
    raise DataError(f"{place} has {key} {shown(value)}, expected 0 or 1")


def side(value: Any, place: str, key: str) -> int | None:
    """Return the height or width of an image in pixels; None if it is unknown (null or below 1)."""
    if value is None:
        return None
    if type(value) is str and re.fullmatch(r"\s*-?\d{1,9}(\.0*)?\s*", value):
        value = float(value)
    if type(value) not in _NUMBERS or not -_LIMIT <= value <= _LIMIT or value != int(value):
        raise DataError(f"{place} has {key} {shown(value)}, expected pixels, or null when it is unknown")
    return int(value) if value >= 1 else None


def area(value: Any, place: str) -> float | None:
    """Return an area in square pixels; None if it is unknown (null, NaN, or below 0 as for reversed polygons)."""
    if value is None:
        return None
    if type(value) not in _NUMBERS or value > _LIMIT**2:
        raise DataError(f"{place} has area {shown(value)}, expected square pixels, or null when it is unknown")
    return float(value) if value >= 0 else None


def text(value: Any, place: str, key: str) -> str:
    """Return a name; integers are converted to strings."""
    if type(value) is str and value and "\0" not in value:
        return value
    if type(value) is int:
        return str(value)
    raise DataError(f"{place} has {key} {shown(value)}, expected a text")


def is_box(value: Any) -> bool:
    """Return whether a value is a list of four finite numbers."""
    if type(value) is not list or len(value) != 4:
        return False
    return all(type(number) in _NUMBERS and -_LIMIT <= number <= _LIMIT for number in value)


def segmentation(value: Any, place: str) -> list | dict | None:
    """Return polygons or RLE, whose numbers are checked by `decode_mask`; None if there is no mask."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return [value] if type(value[0]) in _NUMBERS else value
    if isinstance(value, dict) and "counts" in value:
        return value
    raise DataError(f"{place} has segmentation {shown(value)}, expected polygons or run lengths")


def palette(categories: Sequence[dict], path: str) -> tuple[tuple[int, int, int], ...] | None:
    """Return the colors of all categories, RGB 0..255; None if the file does not have all of them."""
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
    """Check all boxes of a file together, to detect wrong box formats and units.

    Args:
        boxes: N lists (x, y, width, height).
        sides: Width and height of the image of each box; None for an unknown side.
        names: Annotation ids.
        path: Path of the file, for error messages.

    Raises:
        DataError: The boxes are relative to the image size instead of in pixels, or corners instead of x, y, width,
            height, or a box lies far outside its image.
    """
    if not boxes:
        return
    xywh = np.array(boxes, np.float64)
    size = np.array(sides, np.float64)  # None becomes NaN, for which all comparisons are false
    if (xywh <= 1).all() and (xywh >= 0).all() and (xywh % 1 > 0).any():
        raise DataError(
            f"{path}: no bbox has a number above 1: they seem to be relative to the image size (annotation {names[0]}: "
            f"{boxes[0]}). Expected [x, y, width, height] in pixels: multiply by the image's width and height"
        )
    end = xywh[:, :2] + xywh[:, 2:]
    over = (np.maximum(end - size, -xywh[:, :2]) / size).max(axis=1)  # overhang relative to the image size
    beyond = over > 0.05
    corners = (xywh[:, 2:] > xywh[:, :2]).all(axis=1) & ~(xywh[:, 2:] > size + 1).any(axis=1)
    count = int(beyond.sum())
    if count >= max(3, len(boxes) / 4) and corners.all() and not np.isnan(size).any():
        raise DataError(
            f"{path}: {count} of {len(boxes)} boxes end outside their image, but all fit as [x1, y1, x2, y2] "
            f"(annotation {names[int(beyond.argmax())]}: {boxes[int(beyond.argmax())]}). Expected [x, y, width, "
            "height]: convert them, w = x2 - x1 and h = y2 - y1"
        )
    far = far_outside(np.concatenate([xywh[:, :2], end], axis=1), size)
    if far.any():
        i = int(far.argmax())
        width, height = (int(n) for n in size[i])
        raise DataError(
            f"{path}: annotation {names[i]} has bbox {boxes[i]} ([x, y, width, height]), far outside its image of "
            f"{height}x{width} (h x w, from the file): the boxes do not match the image sizes"
        )
    if (over > 0.1).any():
        i = int(np.nanargmax(over))
        count = int((over > 0.1).sum())
        print_log(
            f"{path}: {count} of {len(boxes)} boxes exceed their image by more than a tenth of its size and "
            f"are clipped, the farthest is that of annotation {names[i]}: {boxes[i]}. Are they [x, y, width, height] "
            "in pixels of these images?",
            logger="current",
            level=logging.WARNING,
        )


def far_outside(boxes: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return which boxes (N, 4) xyxy end more than one image length outside an image of `size` (..., 2), w and h."""
    reach = FAR * size.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return ((boxes[:, 2:] > size + reach) | (boxes[:, :2] < -reach)).any(axis=1)


def shown(value: Any) -> str:
    """Return a value in JSON notation, shortened to one line."""
    words = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
