"""Synthetic scenes with ground truth for all tasks, generated from a seed without any files.

A scene is a room with a textured wall, a floor, and randomly rotated objects (boxes, discs, wedges) at different
distances that occlude each other. Labels can be inferred from the image: the class from the outline, the distance from
size, brightness and position on the floor.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from vislab.datasets.base import BaseDataset
from vislab.errors import DataError
from vislab.registry import DATASETS
from vislab.structures import rotated_boxes as rb

THINGS = ("box", "disc", "wedge")
STUFF = ("wall", "floor")
PALETTE = ((220, 60, 50), (60, 150, 230), (250, 200, 50), (120, 120, 140), (90, 70, 60))
WALL_DEPTH = 10.0  # meters, the largest depth
NEAREST = 1.5
_FOCAL = 1.2  # in image heights: an object of 1 m at a distance of 1.2 m fills the image height


@DATASETS.register_module()
class Scenes(BaseDataset):
    """Synthetic scenes of a room with objects.

    Records have arrays instead of paths: img (H, W, 3) uint8 RGB; label, the class of the largest visible object, -1
    without objects; gt_bboxes, gt_rbboxes, gt_masks, gt_labels, gt_ignore and gt_ids of the visible parts; gt_sem_seg;
    gt_panoptic with segments_info (things first, then wall and floor); gt_depth in meters, 1.5..10, known everywhere.

    Class indices: box 0, disc 1, wedge 2 (things), wall 3, floor 4. Metainfo: classes (all five), thing_classes,
    stuff_classes, palette.

    Args:
        length: Number of scenes.
        size: Height and width in pixels, at least 16.
        num_objects: Minimum and maximum number of objects; fewer are placed if they would be hidden.
        object_length: Minimum and maximum length of an object in meters.
        aspect_ratio: Minimum and maximum ratio of width to length of an object, at most 1.
        seed: Random seed; scenes of different seeds are unrelated. Use different seeds for training and validation.
        cache: Keep generated scenes in memory, separately in each process.
        pipeline: Transforms.
        metainfo: Overrides of the metainfo above; `classes` cannot be changed.
        test_mode: See BaseDataset.
    """

    METAINFO = {
        "classes": (*THINGS, *STUFF),
        "thing_classes": THINGS,
        "stuff_classes": STUFF,
        "palette": PALETTE,
        "max_depth": WALL_DEPTH,
    }

    def __init__(
        self,
        *,
        length: int = 1000,
        size: int | tuple[int, int] = 128,
        num_objects: tuple[int, int] = (1, 6),
        object_length: tuple[float, float] = (0.5, 1.6),
        aspect_ratio: tuple[float, float] = (0.4, 0.85),
        seed: int = 0,
        cache: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        test_mode: bool = False,
    ) -> None:
        self.length = length
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.num_objects = tuple(num_objects)
        self.object_length, self.aspect_ratio = tuple(object_length), tuple(aspect_ratio)
        self.seed = seed
        if min(self.size) < 16 or length < 1 or not 0 <= self.num_objects[0] <= self.num_objects[1]:
            raise ValueError(
                f"Scenes(length={length}, size={size}, num_objects={num_objects}): expected length >= 1, size >= 16, "
                "0 <= minimum <= maximum number of objects"
            )
        if (
            not 0 < self.object_length[0] <= self.object_length[1]
            or not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1] <= 1
        ):
            raise ValueError(
                f"Scenes(object_length={object_length}, aspect_ratio={aspect_ratio}): expected "
                "0 < minimum <= maximum length in meters, and 0 < minimum <= maximum ratio <= 1"
            )
        self._cache: dict[int, dict] | None = {} if cache else None
        super().__init__(pipeline=pipeline, metainfo=metainfo, test_mode=test_mode, serialize_data=False)
        if self.given_classes not in (None, self.METAINFO["classes"]):
            raise DataError(f"Scenes has the classes {self.METAINFO['classes']}; metainfo has {self.given_classes}")

    @classmethod
    def check_arguments(cls, *, length: int = 1, **arguments: Any) -> None:
        """Raise the errors of the constructor without creating the records."""
        cls(length=min(length, 1), **{**arguments, "pipeline": ()})

    def load_data_list(self) -> list[dict]:
        return [{} for _ in range(self.length)]

    def get_data_info(self, idx: int) -> dict:
        """Return the idx-th scene, with new arrays that transforms may modify."""
        idx = int(idx) % self.length
        if self._cache is not None and idx in self._cache:
            scene = self._cache[idx]
        else:
            rng = np.random.default_rng([self.seed, idx])
            scene = draw_scene(rng, self.size, self.num_objects, self.object_length, self.aspect_ratio)
            if self._cache is not None:
                self._cache[idx] = scene
        record = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in scene.items()}
        record["segments_info"] = [dict(segment) for segment in scene["segments_info"]]
        return record | {"sample_idx": idx, "img_id": idx, "img_path": f"scene_{self.seed}_{idx:06d}.png"}


def draw_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    num_objects: tuple[int, int],
    object_length: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> dict:
    """Generate a scene as a record; see `Scenes`."""
    h, w = size
    img, depth, semantic = _room(rng, h, w)
    panoptic = np.zeros((h, w), np.int32)
    labels: list[int] = []
    wanted = int(rng.integers(num_objects[0], num_objects[1] + 1))
    # far to near, so that nearer objects occlude those behind
    for distance in sorted(rng.uniform(NEAREST, 0.8 * WALL_DEPTH, wanted), reverse=True):
        for _ in range(8):
            kind, box = _draw_object(rng, distance, h, w, object_length, aspect_ratio)
            window, inside = _rasterize(kind, box, h, w)
            if _is_clear(inside, panoptic[window], len(labels), panoptic):
                break
        else:
            continue
        labels.append(kind)
        panoptic[window][inside] = len(labels)
        semantic[window][inside] = kind
        depth[window][inside] = distance
        img[window][inside] = _texture(rng, inside.shape, distance)[inside]
    noise = rng.integers(-6, 7, (h, w, 1), dtype=np.int16)
    img = np.clip(img + noise, 0, 255).astype(np.uint8)
    return {"img": img, "gt_depth": depth, "gt_sem_seg": semantic} | _labels(labels, panoptic, semantic)


def _room(rng: np.random.Generator, h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw wall and floor; returns the image (H, W, 3) float32, depth (H, W) and classes (H, W)."""
    horizon = rng.uniform(0.35, 0.6) * h
    eye = rng.uniform(1.0, 1.6)  # height of the camera above the floor, meters
    rows = np.arange(h, dtype=np.float32) + 0.5
    floor_depth = eye * _FOCAL * h / np.maximum(rows - horizon, 1e-3)
    is_floor = (rows > horizon) & (floor_depth < WALL_DEPTH)
    line = np.where(is_floor, np.maximum(floor_depth, 0.5), WALL_DEPTH).astype(np.float32)
    depth = np.repeat(line[:, None], w, axis=1)
    semantic = np.repeat(np.where(is_floor, 4, 3).astype(np.uint8)[:, None], w, axis=1)
    split = int(np.argmax(is_floor)) if is_floor.any() else h
    img = np.empty((h, w, 3), np.float32)
    img[:split] = _texture(rng, (split, w), 0.6 * WALL_DEPTH, grain=max(2, h // 12))
    # stripes on the floor follow its depth, like boards
    boards = np.sin(line[split:, None] * rng.uniform(2, 5) + np.linspace(0, rng.uniform(0, 6), w)[None])
    tone = rng.uniform(60, 150, 3).astype(np.float32)
    img[split:] = (tone + 18 * boards[..., None]) * _light(line[split:, None, None])
    return img, depth, semantic


def _light(distance: np.ndarray | float) -> np.ndarray | float:
    """Return the brightness factor; near objects are brighter."""
    return 1.15 - 0.6 * distance / WALL_DEPTH


def _texture(rng: np.random.Generator, shape: tuple[int, int], distance: float, grain: int = 4) -> np.ndarray:
    """Return a random color with soft blotches and stripes, (h, w, 3) float32."""
    h, w = shape
    if not h or not w:
        return np.zeros((h, w, 3), np.float32)
    coarse = rng.uniform(-25, 25, (max(2, h // grain + 1), max(2, w // grain + 1))).astype(np.float32)
    blotches = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR)
    fy, fx = rng.uniform(-0.6, 0.6, 2)
    stripes = 14 * np.sin(fy * np.arange(h, dtype=np.float32)[:, None] + fx * np.arange(w, dtype=np.float32))
    color = rng.uniform(40, 240, 3).astype(np.float32)
    return (color + (blotches + stripes)[..., None]) * np.float32(_light(distance))


def _draw_object(
    rng: np.random.Generator,
    distance: float,
    h: int,
    w: int,
    object_length: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tuple[int, np.ndarray]:
    """Draw the class and the full rotated box of an object at `distance` meters."""
    long = rng.uniform(*object_length) * _FOCAL * h / distance
    long = min(max(long, 6.0), 0.8 * min(h, w))
    short = long * rng.uniform(*aspect_ratio)
    box = [rng.uniform(0.05, 0.95) * w, rng.uniform(0.2, 0.95) * h, long, short]
    return int(rng.integers(len(THINGS))), np.array([*box, rng.uniform(-math.pi / 2, math.pi / 2)], np.float32)


def _rasterize(kind: int, box: np.ndarray, h: int, w: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the image window around an object, and a bool mask (wh, ww) of the pixels whose center is inside it."""
    hull = rb.rboxes_to_hboxes(box)
    x0, y0 = (max(int(v), 0) for v in hull[:2])
    x1, y1 = min(int(hull[2]) + 1, w), min(int(hull[3]) + 1, h)
    y = np.arange(y0, max(y1, y0), dtype=np.float32)[:, None] + 0.5 - box[1]
    x = np.arange(x0, max(x1, x0), dtype=np.float32)[None] + 0.5 - box[0]
    cos, sin = math.cos(box[4]), math.sin(box[4])
    u = (x * cos + y * sin) / (box[2] / 2)  # -1..1 along the box, (wh, ww)
    v = (y * cos - x * sin) / (box[3] / 2)
    if kind == 0:
        inside = (np.abs(u) <= 1) & (np.abs(v) <= 1)
    elif kind == 1:
        inside = u * u + v * v <= 1
    else:  # a wedge: a triangle whose base is the long side at v = 1
        inside = (np.abs(v) <= 1) & (np.abs(u) <= (v + 1) / 2)
    return (slice(y0, y0 + inside.shape[0]), slice(x0, x0 + inside.shape[1])), inside


def _is_clear(inside: np.ndarray, covered: np.ndarray, count: int, panoptic: np.ndarray) -> bool:
    """Return whether an object is visible and leaves at least half, and 12 pixels, of each object behind it visible."""
    if inside.sum() < 16:
        return False
    hidden = np.bincount(covered[inside], minlength=count + 1)[1:]
    if not hidden.any():
        return True
    area = np.bincount(panoptic.ravel(), minlength=count + 1)[1:]
    left = area - hidden
    return bool(((hidden == 0) | ((left >= 12) & (left >= 0.5 * area))).all())


def _labels(labels: list[int], panoptic: np.ndarray, semantic: np.ndarray) -> dict:
    """Return the ground truth of the visible parts, from the final id map."""
    n = len(labels)
    ids = np.arange(1, n + 1)
    masks = (panoptic[None] == ids[:, None, None]).view(np.uint8)
    area = masks.sum(axis=(1, 2), dtype=np.int64)
    boxes = np.zeros((n, 4), np.float32)
    rboxes = np.zeros((n, 5), np.float32)
    for i, mask in enumerate(masks):
        x, y, w, h = cv2.boundingRect(mask)
        boxes[i] = x, y, x + w, y + h
        fitted = rb.mask_to_rbox(mask[y : y + h, x : x + w])
        rboxes[i] = rb.translate(fitted, x, y)
    segments = [{"id": i + 1, "category": k, "iscrowd": 0, "area": int(area[i])} for i, k in enumerate(labels)]
    for category in range(len(THINGS), len(THINGS) + len(STUFF)):
        pixels = semantic == category
        if pixels.any():
            panoptic[pixels] = len(segments) + 1
            segments.append({"id": len(segments) + 1, "category": category, "iscrowd": 0, "area": int(pixels.sum())})
    return {
        "label": labels[int(area.argmax())] if n else -1,
        "gt_bboxes": boxes,
        "gt_rbboxes": rboxes,
        "gt_masks": masks,
        "gt_labels": np.array(labels, np.int64),
        "gt_ignore": np.zeros(n, bool),
        "gt_ids": np.arange(n),
        "gt_panoptic": panoptic,
        "segments_info": segments,
    }
