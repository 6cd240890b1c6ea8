"""Operations on rotated boxes in one angle convention, and converters from and to other conventions.

A box is (cx, cy, w, h, theta): image axes (x right, y down), pixels, theta in radians from the x axis to the side of
length w, clockwise positive on the screen, w >= h, theta in [-pi/2, pi/2) ("le90"). All functions are vectorized over
the leading dimensions, accept NumPy arrays and tensors, and return the type they were given.
"""

import math
from itertools import combinations
from typing import TypeVar

import cv2
import numpy as np
import torch

from vislab.errors import check_choice

Array = TypeVar("Array", np.ndarray, torch.Tensor)
_LOCAL = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))  # corners in the box's local frame, clockwise


def _lib(x: Array):
    return torch if isinstance(x, torch.Tensor) else np


def _stack(parts, axis: int = -1):
    return torch.stack(parts, dim=axis) if isinstance(parts[0], torch.Tensor) else np.stack(parts, axis=axis)


def _columns(x: Array) -> tuple:
    return tuple(x[..., i] for i in range(x.shape[-1]))


def _wrap(theta: Array, start: float, period: float = math.pi) -> Array:
    """Wrap angles to [start, start + period), also where rounding would reach the open end."""
    lib = _lib(theta)
    wrapped = lib.remainder(theta - start, period) + start
    return lib.where(wrapped >= start + period, wrapped - period, wrapped)


# --- canonical form and corners -------------------------------------------------------------------------------------


def normalize(rboxes: Array) -> Array:
    """Convert (..., 5) boxes with clockwise angles in radians to w >= h and theta in [-pi/2, pi/2)."""
    lib = _lib(rboxes)
    cx, cy, w, h, theta = _columns(rboxes)
    tall = h > w
    theta = _wrap(lib.where(tall, theta + math.pi / 2, theta), -math.pi / 2)
    return _stack((cx, cy, lib.where(tall, h, w), lib.where(tall, w, h), theta))


def rboxes_to_corners(rboxes: Array) -> Array:
    """Convert (..., 5) boxes to corners (..., 4, 2), clockwise from the corner at local (-w/2, -h/2)."""
    lib = _lib(rboxes)
    cx, cy, w, h, theta = _columns(rboxes)
    cos, sin = lib.cos(theta), lib.sin(theta)
    corners = [
        _stack((cx + u * w * cos - v * h * sin, cy + u * w * sin + v * h * cos)) for u, v in _LOCAL
    ]  # 4 x (..., 2)
    return _stack(corners, axis=-2)


def corners_to_rboxes(corners: Array) -> Array:
    """Return the minimum-area rectangles (..., 5) around (..., 4, 2) points in any order.

    A minimum-area rectangle has a side along an edge of the convex hull, and the edges of the hull are among the six
    lines through two of the points, so the best of the six is exact. Computed in float64.
    """
    lib = _lib(corners)
    dtype = corners.dtype
    points = corners.double() if lib is torch else corners.astype(np.float64)
    best = None
    for i, j in combinations(range(4), 2):
        side = points[..., j, :] - points[..., i, :]
        length = lib.sqrt((side * side).sum(-1))
        nonzero = length > 0
        safe = lib.where(nonzero, length, lib.ones_like(length))
        cos = lib.where(nonzero, side[..., 0] / safe, lib.ones_like(length))
        sin = lib.where(nonzero, side[..., 1] / safe, lib.zeros_like(length))
        along = points[..., 0] * cos[..., None] + points[..., 1] * sin[..., None]  # (..., 4)
        across = points[..., 1] * cos[..., None] - points[..., 0] * sin[..., None]
        a0, a1, b0, b1 = _min(along), _max(along), _min(across), _max(across)
        w, h = a1 - a0, b1 - b0
        u, v = (a0 + a1) / 2, (b0 + b1) / 2
        box = _stack((u * cos - v * sin, u * sin + v * cos, w, h, lib.arctan2(sin, cos)))
        if best is None:
            best, best_area = box, w * h
        else:
            # the margin keeps the first of equal candidates, so that rounding does not change the orientation of a box
            better = w * h < best_area * (1 - 1e-9)
            best = lib.where(better[..., None], box, best)
            best_area = lib.where(better, w * h, best_area)
    best = normalize(best)
    return best.to(dtype) if lib is torch else best.astype(dtype if dtype.kind == "f" else np.float64)


def _min(x: Array) -> Array:
    return x.amin(-1) if isinstance(x, torch.Tensor) else x.min(-1)


def _max(x: Array) -> Array:
    return x.amax(-1) if isinstance(x, torch.Tensor) else x.max(-1)


def rboxes_to_hboxes(rboxes: Array) -> Array:
    """Return the axis-aligned boxes (..., 4) xyxy around (..., 5) rotated boxes."""
    lib = _lib(rboxes)
    cx, cy, w, h, theta = _columns(rboxes)
    cos, sin = lib.abs(lib.cos(theta)), lib.abs(lib.sin(theta))
    dx, dy = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return _stack((cx - dx, cy - dy, cx + dx, cy + dy))


def hboxes_to_rboxes(boxes: Array) -> Array:
    """Convert (..., 4) xyxy boxes to rotated boxes (..., 5)."""
    x1, y1, x2, y2 = _columns(boxes)
    return normalize(_stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, _lib(boxes).zeros_like(x1))))


# --- geometric transforms -------------------------------------------------------------------------------------------


def translate(rboxes: Array, dx: float, dy: float) -> Array:
    """Return boxes translated by (dx, dy) pixels."""
    cx, cy, w, h, theta = _columns(rboxes)
    return _stack((cx + dx, cy + dy, w, h, theta))


def scale(rboxes: Array, sx: float, sy: float) -> Array:
    """Return boxes scaled by (sx, sy).

    Unequal factors turn a rectangle into a parallelogram, unless its sides are parallel to the axes. The result is the
    rectangle with the same center, area, and long axis: both ends of the line along w move as the image does. It
    overlaps the parallelogram more than the smallest rectangle around it does, and scaling back restores the box if w
    is still the longer side.
    """
    cx, cy, w, h, theta = _columns(rboxes)
    if sx == sy:
        return _stack((cx * sx, cy * sx, w * sx, h * sx, theta))
    lib = _lib(rboxes)
    along, across = lib.cos(theta) * sx, lib.sin(theta) * sy  # where the unit vector along w moves to
    stretch = lib.hypot(along, across)
    return normalize(_stack((cx * sx, cy * sy, w * stretch, h * (sx * sy) / stretch, lib.arctan2(across, along))))


def flip(rboxes: Array, size: tuple[int, int], direction: str = "horizontal") -> Array:
    """Return boxes of a flipped image. `size` is (height, width); `direction` is horizontal, vertical or diagonal."""
    check_choice("flip direction", direction, ("horizontal", "vertical", "diagonal"))
    cx, cy, w, h, theta = _columns(rboxes)
    if direction != "vertical":
        cx, theta = size[1] - cx, -theta
    if direction != "horizontal":
        cy, theta = size[0] - cy, -theta
    return normalize(_stack((cx, cy, w, h, theta)))


def rotate(rboxes: Array, angle: float, center: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Return boxes rotated clockwise by `angle` radians about `center` (x, y)."""
    cx, cy, w, h, theta = _columns(rboxes)
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = cx - center[0], cy - center[1]
    return normalize(_stack((center[0] + dx * cos - dy * sin, center[1] + dx * sin + dy * cos, w, h, theta + angle)))


# --- other conventions ----------------------------------------------------------------------------------------------


def from_cv2(rects: Array) -> Array:
    """Convert (..., 5) boxes (cx, cy, w, h, degrees) as in OpenCV's RotatedRect, of any OpenCV version."""
    cx, cy, w, h, degrees = _columns(rects)
    return normalize(_stack((cx, cy, w, h, degrees * (math.pi / 180))))


def to_cv2(rboxes: Array) -> Array:
    """Convert (..., 5) boxes to (cx, cy, w, h, degrees) for cv2.boxPoints and cv2.rotatedRectangleIntersection."""
    cx, cy, w, h, theta = _columns(rboxes)
    return _stack((cx, cy, w, h, theta * (180 / math.pi)))


def from_radians(rboxes: Array) -> Array:
    """Convert boxes of any convention with clockwise radians (le135, oc, [0, pi]) to le90."""
    return normalize(rboxes)


def to_le135(rboxes: Array) -> Array:
    """Convert le90 boxes to le135: w >= h, theta in [-pi/4, 3 pi/4)."""
    cx, cy, w, h, theta = _columns(normalize(rboxes))
    return _stack((cx, cy, w, h, _wrap(theta, -math.pi / 4)))


def to_oc(rboxes: Array) -> Array:
    """Convert le90 boxes to OpenCV's range: theta in (0, pi/2], measured to side w, which may be the shorter one."""
    lib = _lib(rboxes)
    cx, cy, w, h, theta = _columns(normalize(rboxes))
    turned = theta <= 0  # le90 is [-pi/2, pi/2): add a quarter turn
    turned_twice = theta <= -math.pi / 2 + 1e-7  # -pi/2 is pi/2 with the same sides
    angle = lib.where(turned_twice, theta + math.pi, lib.where(turned, theta + math.pi / 2, theta))
    swap = turned & ~turned_twice
    return _stack((cx, cy, lib.where(swap, h, w), lib.where(swap, w, h), angle))


def from_dota(corners: Array) -> Array:
    """Convert (..., 8) corners x1 y1 .. x4 y4 as in DOTA to the minimum-area rectangles around them."""
    return corners_to_rboxes(corners.reshape(*corners.shape[:-1], 4, 2))  # (..., 5)


def to_dota(rboxes: Array) -> Array:
    """Convert (..., 5) boxes to (..., 8) corners x1 y1 .. x4 y4 as in DOTA."""
    corners = rboxes_to_corners(rboxes)
    return corners.reshape(*corners.shape[:-2], 8)


# --- boxes from masks, clipping -------------------------------------------------------------------------------------


def mask_to_rbox(mask: np.ndarray) -> np.ndarray:
    """Return the minimum-area rotated box (5,) float32 around the pixels of an (H, W) mask; zeros for an empty mask.

    Pixel (x, y) covers [x, x+1] x [y, y+1], as in xyxy boxes, so the fit through pixel centers is shifted by half a
    pixel and enlarged by one.
    """
    contours = cv2.findContours(mask.astype(np.uint8, copy=False), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return np.zeros(5, np.float32)
    (cx, cy), (w, h), degrees = cv2.minAreaRect(np.concatenate([c.reshape(-1, 2) for c in contours]))
    return from_cv2(np.array([cx + 0.5, cy + 0.5, w + 1, h + 1, degrees], np.float32))


def clip_to_window(rboxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes at the image border and refit them to the part inside.

    Args:
        rboxes: (N, 5) float.
        size: Image (height, width).

    Returns:
        The boxes (N, 5), unchanged where nothing is clipped, and the visible fraction (N,) of each box's area.
    """
    rboxes = np.array(rboxes, copy=True)
    share = np.ones(len(rboxes), np.float32)
    h, w = size
    hull = rboxes_to_hboxes(rboxes)
    cut = (hull[:, 0] < -1e-3) | (hull[:, 1] < -1e-3) | (hull[:, 2] > w + 1e-3) | (hull[:, 3] > h + 1e-3)
    for i in np.flatnonzero(cut):
        inside = _cut_polygon(rboxes_to_corners(rboxes[i].astype(np.float64)), w, h)
        area = _polygon_area(inside)
        if area <= 0:
            share[i] = 0
            continue
        share[i] = min(1.0, area / max(float(rboxes[i, 2] * rboxes[i, 3]), 1e-12))
        (cx, cy), (bw, bh), degrees = cv2.minAreaRect(inside.astype(np.float32))
        rboxes[i] = from_cv2(np.array([cx, cy, bw, bh, degrees], rboxes.dtype))
    return rboxes, share


def _cut_polygon(points: np.ndarray, w: float, h: float) -> np.ndarray:
    """Clip a convex polygon (K, 2) to [0, w] x [0, h], one border line at a time.

    OpenCV's intersectConvexConvex is not used because its areas are wrong where edges nearly coincide.
    """
    for axis, sign, limit in ((0, 1, 0.0), (1, 1, 0.0), (0, -1, -w), (1, -1, -h)):
        if not len(points):
            break
        depth = sign * points[:, axis] - limit  # >= 0 inside
        kept = []
        for j, (point, d) in enumerate(zip(points, depth, strict=True)):
            before, d0 = points[j - 1], depth[j - 1]
            if (d >= 0) != (d0 >= 0):
                kept.append(before + (point - before) * (d0 / (d0 - d)))
            if d >= 0:
                kept.append(point)
        points = np.array(kept).reshape(-1, 2)
    return points


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
