"""Decode COCO masks (polygons, compressed and uncompressed RLE), with checks before pycocotools is called.

pycocotools does not check its input: RLE that does not fill the mask leaves uninitialized memory in it, and polygons
with huge coordinates or NaN crash the process.
"""

from typing import Any

import numpy as np
from pycocotools import mask as coco

from vislab.errors import DataError


def decode_mask(value: list | dict, size: tuple[int, int], place: str) -> np.ndarray:
    """Return the mask (H, W) uint8 of 0 and 1, which is empty for polygons thinner than a pixel.

    Args:
        value: Polygons, a list of lists (x1, y1, x2, y2, ...); or RLE, a dict of size (h, w) and counts, a list of
            numbers or a compressed string.
        size: Height and width of the image.
        place: Name of the mask in messages.

    Raises:
        DataError: Neither polygons nor RLE, invalid numbers, or made for an image of another size.
    """
    return _from_polygons(value, size, place) if isinstance(value, list) else _from_runs(value, size, place)


def _from_polygons(polygons: list, size: tuple[int, int], place: str) -> np.ndarray:
    h, w = size
    reach = max(size)  # coordinates more than one image length outside are errors, and need memory
    usable = []
    for polygon in _flat(polygons):
        points = _numbers(polygon, f"{place}: a polygon")
        if len(points) % 2:
            raise DataError(f"{place}: a polygon has {len(points)} numbers; expected pairs x, y")
        if not len(points):
            continue
        points = points.astype(np.float64)
        x, y = points[::2], points[1::2]
        if not (x.min() >= -reach and y.min() >= -reach and x.max() <= w + reach and y.max() <= h + reach):
            far = points[~((points >= -reach) & (points <= np.where(np.arange(len(points)) % 2, h, w) + reach))][0]
            raise DataError(
                f"{place}: a polygon has the coordinate {far:g}, far outside its image of {h}x{w} (h x w): "
                "it was made for an image of another size, or is damaged"
            )
        if len(points) >= 6:  # two points have no area, and pycocotools would read them as a box
            usable.append(points)
    if not usable:
        return np.zeros(size, np.uint8)
    return coco.decode(coco.merge(coco.frPyObjects(usable, h, w)))


def _flat(polygons: list) -> list:
    """Return the polygons as flat lists, also if the file contains pairs [x, y]."""
    if len(polygons) > 2 and all(isinstance(p, list) and len(p) == 2 for p in polygons):
        return [_unpaired(polygons)]
    return [_unpaired(polygon) for polygon in polygons]


def _unpaired(points: Any) -> Any:
    if isinstance(points, list) and points and all(isinstance(p, list) and len(p) == 2 for p in points):
        return [number for pair in points for number in pair]
    return points


def _from_runs(value: dict, size: tuple[int, int], place: str) -> np.ndarray:
    h, w = size
    own = value.get("size") if isinstance(value, dict) else None
    if not isinstance(own, list | tuple) or len(own) != 2 or not all(type(n) is int for n in own):
        raise DataError(f"{place}: the run lengths have size {own!r}, expected [height, width]")
    if tuple(own) != tuple(size):
        raise DataError(f"{place} is {own[0]}x{own[1]} (h x w), its image is {h}x{w}")
    counts = value.get("counts")
    compressed = isinstance(counts, str | bytes)
    runs = _expand(counts, place) if compressed else _numbers(counts, f"{place}: counts")
    if len(runs) and (runs.min() < 0 or runs.max() > h * w or (runs % 1).any()):
        raise DataError(f"{place}: the run lengths contain {runs.min()}..{runs.max()}; expected integers 0..{h * w}")
    runs = runs.astype(np.int64)
    total = int(runs.sum())
    if total != h * w:
        raise DataError(
            f"{place}: the run lengths sum to {total}, but the image has {h * w} pixels ({h}x{w}, h x w): they are "
            "truncated or made for an image of another size"
        )
    if compressed:
        return coco.decode({"size": [h, w], "counts": counts})
    return coco.decode(coco.frPyObjects({"size": [h, w], "counts": runs.tolist()}, h, w))


def _numbers(value: Any, what: str) -> np.ndarray:
    """Return a flat list of finite numbers as an array of integers or floats."""
    try:
        array = np.asarray(value) if isinstance(value, list | tuple) and len(value) else np.zeros(0, np.int64)
    except (ValueError, OverflowError):  # lists of different lengths
        array = np.zeros(0, object)
    if not isinstance(value, list | tuple) or array.ndim != 1 or array.dtype.kind not in "iuf":
        raise DataError(f"{what} is {str(value)[:60]!r}, expected a list of numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{what} contains {array[~np.isfinite(array)][0]}, which is not a finite number")
    return array


def _expand(counts: str | bytes, place: str) -> np.ndarray:
    """Return the run lengths of a compressed string, (N,) int64.

    Each run is encoded in base 32, lowest digit first, in characters starting at "0": bit 5 is set if more digits
    follow, bit 4 of the last digit is the sign. From the fourth run on, the difference to the run two before it is
    encoded.
    """
    try:
        data = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        data = b"\x00"
    digits = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if not len(digits):
        return np.zeros(0, np.int64)
    last = (digits & 32) == 0
    ends = np.flatnonzero(last)
    if digits.min() < 0 or digits.max() > 63 or not last[-1]:
        raise DataError(f"{place}: the compressed run lengths {str(counts)[:40]!r} are damaged or truncated")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits
        raise DataError(f"{place}: the compressed run lengths {str(counts)[:40]!r} contain a number beyond 32 bits")
    place_values = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((digits & 31) << place_values, starts)
    runs -= np.where(digits[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
