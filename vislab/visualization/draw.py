"""Draw labels on images: functions from RGB uint8 arrays (H, W, 3) to new arrays, without matplotlib.

Line widths and font sizes depend on the size of the image.
"""

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from vislab.structures.rotated_boxes import rboxes_to_corners

Color = tuple[int, int, int]
BACKGROUND = (24, 24, 24)


def make_palette(count: int) -> np.ndarray:
    """Return (count, 3) uint8 colors, the same in each run; consecutive colors differ strongly."""
    golden = 0.61803398875
    colors = [
        colorsys.hsv_to_rgb((0.02 + i * golden) % 1, (0.85, 0.6)[i // 2 % 2], (0.95, 0.75)[i % 2]) for i in range(count)
    ]
    return (np.array(colors).reshape(-1, 3) * 255).round().astype(np.uint8)


def to_size(img: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map or image to (h, w) with nearest-neighbor interpolation."""
    if img.shape[:2] == tuple(size):
        return img
    rows = np.minimum(((np.arange(size[0]) + 0.5) * img.shape[0] / size[0]).astype(int), img.shape[0] - 1)
    columns = np.minimum(((np.arange(size[1]) + 0.5) * img.shape[1] / size[1]).astype(int), img.shape[1] - 1)
    return img[rows[:, None], columns]


def draw_text(img: np.ndarray, text: str, xy: tuple[float, float], color: Color = (255, 255, 255)) -> np.ndarray:
    """Draw a line of text on a dark background with its top left corner at `xy`, moved to fit into the image."""
    img = np.ascontiguousarray(img).copy()
    _write(img, text, xy, color)
    return img


def draw_legend(img: np.ndarray, names: Sequence[str], colors: np.ndarray) -> np.ndarray:
    """Write names in (N, 3) colors at the bottom left, one per line."""
    img = np.ascontiguousarray(img).copy()
    step = text_height(img)
    for i, (name, color) in enumerate(zip(names, colors, strict=True)):
        _write(img, name, (2, img.shape[0] - step * (len(names) - i)), tuple(map(int, color)))
    return img


def text_height(img: np.ndarray) -> int:
    """Return the height in pixels of a line of text with its background."""
    scale, thick = _font(img)
    (_, height), base = cv2.getTextSize("Ag", cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    return height + base + 4


def _font(img: np.ndarray) -> tuple[float, int]:
    """Return scale and thickness of the font for an image."""
    scale = float(np.clip(min(img.shape[:2]) / 900, 0.32, 1.0))
    return scale, 1 if scale < 0.7 else 2


def _write(img: np.ndarray, text: str, xy: tuple[float, float], color: Color) -> None:
    text = text.encode("ascii", "replace").decode()
    scale, thick = _font(img)
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x = int(np.clip(xy[0], 0, max(img.shape[1] - w - 4, 0)))
    y = int(np.clip(xy[1], 0, max(img.shape[0] - h - base - 4, 0)))
    plate = img[y : y + h + base + 3, x : x + w + 4]
    plate[:] = plate // 4
    bright = tuple(int(c) for c in np.maximum(color, 90))
    cv2.putText(img, text, (x + 2, y + h + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, bright, thick, cv2.LINE_AA)


def _line_width(img: np.ndarray) -> int:
    return max(1, round(min(img.shape[:2]) / 300))


def draw_polygons(
    img: np.ndarray, polygons: np.ndarray, colors: np.ndarray, texts: Sequence[str] = (), dashed: Sequence[bool] = ()
) -> np.ndarray:
    """Draw outlines of (N, K, 2) polygons in (N, 3) colors, each with a text; `dashed` ones are drawn thin."""
    img = np.ascontiguousarray(img).copy()
    width = _line_width(img)
    for i, (polygon, color) in enumerate(zip(polygons, colors, strict=True)):
        points = np.round(np.clip(polygon, -1e4, 1e4) * 8).astype(np.int32)[None]
        thin = i < len(dashed) and dashed[i]
        cv2.polylines(img, points, True, tuple(map(int, color)), 1 if thin else width, cv2.LINE_AA, shift=3)
    for polygon, color, text in zip(polygons, colors, texts, strict=False):
        if text:
            _write(img, text, tuple(polygon.min(axis=0)), tuple(map(int, color)))
    return img


def draw_boxes(
    img: np.ndarray, boxes: np.ndarray, colors: np.ndarray, texts: Sequence[str] = (), dashed: Sequence[bool] = ()
) -> np.ndarray:
    """Draw outlines of (N, 4) xyxy boxes."""
    x1, y1, x2, y2 = np.asarray(boxes, np.float32).reshape(-1, 4).T
    corners = np.stack([np.stack([x1, y1]), np.stack([x2, y1]), np.stack([x2, y2]), np.stack([x1, y2])])  # (4, 2, N)
    return draw_polygons(img, corners.transpose(2, 0, 1), colors, texts, dashed)


def draw_rboxes(
    img: np.ndarray, rboxes: np.ndarray, colors: np.ndarray, texts: Sequence[str] = (), dashed: Sequence[bool] = ()
) -> np.ndarray:
    """Draw outlines of (N, 5) rotated boxes (radians, clockwise)."""
    corners = rboxes_to_corners(np.asarray(rboxes, np.float32).reshape(-1, 5))
    return draw_polygons(img, corners, colors, texts, dashed)


def mask_arrays(masks: Any) -> np.ndarray:
    """Return masks (N, H, W) of an array or tensor, or of a list of COCO's RLE, as models with `rle_masks` predict."""
    if len(masks) and isinstance(masks[0], dict):
        return np.moveaxis(coco.decode(list(masks)), -1, 0)  # (H, W, N) -> (N, H, W)
    return np.asarray(masks)


def draw_masks(img: np.ndarray, masks: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Overlay (N, H, W) masks in (N, 3) colors."""
    img = img.copy()
    for mask, color in zip(masks, colors, strict=True):
        inside = to_size(np.asarray(mask), img.shape[:2]).astype(bool)
        img[inside] = (img[inside] * (1 - opacity) + color.astype(np.float32) * opacity).astype(np.uint8)
    return img


def draw_sem_seg(
    img: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.6, ignore: int = 255
) -> np.ndarray:
    """Overlay (H, W) class indices in the colors of `palette`; ignored pixels are darkened."""
    labels = to_size(labels, img.shape[:2])
    table = np.zeros((int(max(labels.max(initial=0), ignore)) + 1, 3), np.float32)
    table[: min(len(palette), len(table))] = palette[: len(table)]
    table[ignore] = 0
    return (img * (1 - opacity) + table[labels] * opacity).astype(np.uint8)


def draw_panoptic(
    img: np.ndarray, ids: np.ndarray, segments: Sequence[dict], palette: np.ndarray, names: Sequence[str] = ()
) -> np.ndarray:
    """Overlay (H, W) segment ids in shades of the class colors, with outlines and names; void is darkened."""
    ids = to_size(ids, img.shape[:2])
    table = np.zeros(
        (int(max(ids.max(initial=0), *(s["id"] for s in segments), 0)) + 1 if segments else 1, 3), np.float32
    )
    if len(table) <= ids.max(initial=0):
        table = np.zeros((int(ids.max()) + 1, 3), np.float32)
    for segment in segments:
        base = palette[segment["category"] % len(palette)].astype(np.float32)
        shade = 1.0 - 0.12 * (segment["id"] % 4)
        table[segment["id"]] = base * shade if segment["category"] != 255 else 0
    out = (img * 0.4 + table[ids] * 0.6).astype(np.uint8)
    edges = np.zeros(ids.shape, bool)
    edges[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edges[1:] |= ids[1:] != ids[:-1]
    out[edges] = 255
    for segment in segments:
        inside = ids == segment["id"]
        if segment["category"] < len(names) and inside.sum() > 0.01 * ids.size:
            y, x = np.argwhere(inside).mean(axis=0)
            _write(out, str(names[segment["category"]]), (x, y), (255, 255, 255))
    return out


def draw_depth(depth: np.ndarray, limits: tuple[float, float] | None = None, unit: str = "m") -> np.ndarray:
    """Draw (H, W) depth as colors, near is bright, with a color bar below; unknown values (0 or not finite) are black.

    Args:
        depth: Depth in `unit`.
        limits: Values at the ends of the color bar. Default: the 2nd and 98th percentile of the known values.
        unit: Unit written after the numbers of the color bar.

    Returns:
        (H + bar, W, 3); the height of the color bar depends on H only.
    """
    known = np.isfinite(depth) & (depth > 0)
    low, high = depth_limits(depth) if limits is None else limits
    level = np.clip((np.where(known, depth, low) - low) / max(high - low, 1e-6), 0, 1)
    colored = _colormap(_brightness(level))
    colored[~known] = 0
    h, w = depth.shape
    bar = np.zeros((_bar_height(h), w, 3), np.uint8)
    bar[: len(bar) // 3] = _colormap(_brightness(np.linspace(0, 1, w)))[None]
    for share in (0.0, 0.5, 1.0):
        value = f"{low + share * (high - low):.3g}"
        _write(bar, f"{value} {unit}", (share * w - (0, 0.5, 1)[int(2 * share)] * 36, len(bar) // 3), (255, 255, 255))
    return np.concatenate([colored, bar])


def _brightness(level: np.ndarray) -> np.ndarray:
    """Convert the position on the color bar to brightness: near is bright, far is brighter than unknown (black)."""
    return 1 - 0.88 * level


def _bar_height(height: int) -> int:
    return max(24, height // 14)


def depth_limits(*depths: np.ndarray) -> tuple[float, float]:
    """Return limits of a color bar for the known values of several depth maps."""
    known = np.concatenate([d[np.isfinite(d) & (d > 0)].ravel() for d in depths])
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, (2, 98))
    return float(low), float(max(high, low + 1e-3))


def _colormap(level: np.ndarray) -> np.ndarray:
    """Convert values (...) in [0, 1] to RGB (..., 3), dark violet to yellow."""
    flat = (np.asarray(level, np.float32) * 255).astype(np.uint8).reshape(1, -1)
    return cv2.applyColorMap(flat, cv2.COLORMAP_INFERNO)[0, :, ::-1].reshape(*np.shape(level), 3).copy()


def draw_error(image: np.ndarray, other: np.ndarray, full_scale: float = 32.0) -> np.ndarray:
    """Draw the mean absolute difference of two images over the channels; `full_scale` levels (of 255) are brightest."""
    difference = np.abs(image.astype(np.float32) - other.astype(np.float32)).mean(axis=2)
    return _colormap(np.clip(difference / full_scale, 0, 1))


def tile(rows: Sequence[Sequence[tuple[str, np.ndarray]]], gap: int = 4) -> np.ndarray:
    """Arrange images with titles in rows, padded with the background color."""
    drawn = [[_titled(title, img) for title, img in row] for row in rows if row]
    bands = []
    for row in drawn:
        height = max(img.shape[0] for img in row)
        cells = [_fill(img, height, img.shape[1] + gap) for img in row]
        bands.append(np.concatenate(cells, axis=1)[:, :-gap])
    width = max(band.shape[1] for band in bands)
    return np.concatenate([_fill(band, band.shape[0] + gap, width) for band in bands])[:-gap]


def _titled(title: str, img: np.ndarray) -> np.ndarray:
    if not title:
        return img
    head = np.full((20, img.shape[1], 3), BACKGROUND, np.uint8)
    (width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    scale = 0.4 * min(1.0, max(0.6, (img.shape[1] - 6) / width))  # smaller in narrow images
    cv2.putText(head, title, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([head, img])


def _fill(img: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.full((height, width, 3), BACKGROUND, np.uint8)
    out[: img.shape[0], : img.shape[1]] = img
    return out
