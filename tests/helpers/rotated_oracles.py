"""Independent references for rotated boxes: exact polygon clipping with 50 digits, and shapely."""

import math

import mpmath
import numpy as np
import torch
from torch import Tensor

from vislab.structures.rotated_boxes import rboxes_to_corners


def random_rboxes(count: int, seed: int, spread: float = 50, size: tuple[float, float] = (10, 60)) -> Tensor:
    """(count, 5) float64 boxes with centers in a square of side `spread` and sides between the two sizes."""
    part = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sides = size[0] + part[:, 2:4] * (size[1] - size[0])
    return torch.cat([part[:, :2] * spread, sides, (part[:, 4:] - 0.5) * math.pi], 1)


def polygons(boxes: Tensor) -> np.ndarray:
    import shapely  # of the extra "peers"

    return shapely.polygons(rboxes_to_corners(boxes.double()).numpy())


def shapely_iou(boxes1: Tensor, boxes2: Tensor) -> np.ndarray:
    """IoU (P,) of pairs; the corners are computed relative to the middle of each pair."""
    import shapely

    middle = torch.nn.functional.pad((boxes1[:, :2] + boxes2[:, :2]) / 2, (0, 3))
    first, second = polygons(boxes1 - middle), polygons(boxes2 - middle)
    inter = shapely.area(shapely.intersection(first, second))
    return inter / (shapely.area(first) + shapely.area(second) - inter)


def exact_iou(box1: Tensor, box2: Tensor) -> float:
    """IoU of two boxes, whose float64 numbers are taken as exact."""
    with mpmath.workdps(50):
        first, second = _corners(box1), _corners(box2)
        inside = first
        for i in range(4):
            inside = _cut(inside, second[i], second[(i + 1) % 4])
        inter = _area(inside)
        whole = _area(first) + _area(second) - inter
        return float(inter / whole) if whole else 0.0


def _corners(box: Tensor) -> list:
    cx, cy, w, h, theta = (mpmath.mpf(float(x)) for x in box)
    cos, sin = mpmath.cos(theta), mpmath.sin(theta)
    local = ((-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2))
    return [(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in local]


def _cut(points: list, start: tuple, end: tuple) -> list:
    """The part of a convex polygon on the inner side of the line from start to end (Sutherland and Hodgman)."""
    (x0, y0), (x1, y1) = start, end
    depth = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in points]
    kept = []
    for i, (x, y) in enumerate(points):
        d, d0, (px, py) = depth[i], depth[i - 1], points[i - 1]
        if (d >= 0) != (d0 >= 0):
            kept.append((px + (x - px) * d0 / (d0 - d), py + (y - py) * d0 / (d0 - d)))
        if d >= 0:
            kept.append((x, y))
    return kept


def _area(points: list):
    crossed = [x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True)]
    return abs(sum(crossed, mpmath.mpf(0))) / 2
