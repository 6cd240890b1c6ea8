"""Adapter to albumentations, which is imported when the first `Albu` transform is built.

Image, masks, maps, boxes and rotated boxes are passed in one call, so that they are transformed with the same
parameters.
"""

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vislab.datasets.transforms import functional
from vislab.datasets.transforms.albu_steps import build_step
from vislab.errors import ConfigError, DataError
from vislab.registry import TRANSFORMS
from vislab.structures import rotated_boxes as rb

# albumentations fills uncovered parts of maps with 0, so maps are encoded with 0 = unknown; float32 represents ids up
# to 2**24 exactly, and all albumentations transforms support it
_MAPS = ("gt_panoptic", "gt_depth")


@TRANSFORMS.register_module()
class Albu:
    """A list of albumentations transforms as one transform of the pipeline.

    Label maps are transformed with nearest-neighbor interpolation; depth values are not rescaled. If there are masks,
    boxes and rotated boxes are fitted to the transformed masks; otherwise rotated boxes are transformed by their four
    corners, and boxes are fitted to them. Instances that leave the image are removed. Random parameters depend on the
    seed of the sample. `scale_factor` is updated if the size changes. Transforms that crop, rotate or warp cannot be
    used in test pipelines, since predictions could not be mapped to the original image.

    Required keys: img.
    Modified keys: img, img_shape, scale_factor, gt_scale_factor, moved, num_vanished, all labels (gt_areas is removed
    if the frame changes).

    Args:
        transforms: One dict per transform, with the albumentations class as `name` and its arguments; compositions
            (OneOf, SomeOf, Sequential) have a list `transforms` of the same form. Example: dict(name="Affine",
            rotate=(-10, 10), p=0.5).
        min_visibility: Minimum visible fraction of an instance's box, in [0, 1].

    Raises:
        ConfigError: Unknown transform or argument; or a transform that would change the type or channels of the image,
            or the encoding of labels.
        DataError: A transform fails on a sample, such as a crop larger than the image.
    """

    def __init__(self, *, transforms: Sequence[Mapping[str, Any]], min_visibility: float = 0.0) -> None:
        self.transforms = [dict(step) for step in transforms]
        self.min_visibility = min_visibility
        self._compose = _compose(self.transforms, min_visibility)
        self._moving = _moving(self._compose)
        self._mixing = _holds(self._compose, "Morphological")

    def __call__(self, results: dict) -> dict:
        if self._moving:
            functional.refuse_fixed(results, f"Albu ({self._moving})")
        seed = np.random.randint(2**31)
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        n = functional.count_instances(results) or 0
        data = self._pack(results, n)
        try:
            moved = self._compose(**data)
        except Exception as error:  # albumentations has its own exception classes
            name = results.get("img_path", "a sample")
            text = str(error) or type(error).__name__
            raise DataError(f"Albu ({self._names()}) fails on {name}, {_size(results['img'])}: {text}") from error
        self._check(moved)
        self._unpack(results, moved, n)
        return results

    def _check(self, moved: dict) -> None:
        """Raise ConfigError unless the image has its previous type and the maps have the size of the image."""
        img = moved["image"]
        kind = f"{getattr(img, 'dtype', type(img).__name__)} {tuple(getattr(img, 'shape', ()))}"
        if not isinstance(img, np.ndarray) or img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise ConfigError(f"Albu ({self._names()}) changes the image to {kind}; expected uint8 (h, w, 3) RGB")
        for key in (*_MAPS, "gt_sem_seg"):
            if key in moved and moved[key].shape[:2] != img.shape[:2]:
                raise ConfigError(
                    f"Albu ({self._names()}) changes the image to {kind}, but {key} to {moved[key].shape}: it must "
                    "change both"
                )

    def _names(self) -> str:
        return ", ".join(str(step.get("name")) for step in self.transforms)

    def _pack(self, results: dict, n: int) -> dict:
        h, w = results["img"].shape[:2]
        maps = [key for key in (*_MAPS, "gt_sem_seg") if key in results]
        if self._mixing and maps:
            raise ConfigError(
                f"Albu: Morphological computes maxima of neighboring values, which is meaningless for {maps[0]}: "
                "use it without maps of classes, ids or depth"
            )
        data = {"image": results["img"]}
        for key in _MAPS:
            if key in results:
                data[key] = results[key].astype(np.float32)
        if "gt_sem_seg" in results:
            data["gt_sem_seg"] = _encode_labels(results["gt_sem_seg"])
        data["bboxes"], data["box_ids"] = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        data["keypoints"], data["corner_ids"] = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        if n and "gt_masks" in results:
            data["masks"] = results["gt_masks"]
        if n and "gt_bboxes" in results:
            boxes = np.clip(results["gt_bboxes"], 0, [w, h, w, h])
            solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
            data["bboxes"], data["box_ids"] = boxes[solid], np.flatnonzero(solid)
        if n and "gt_rbboxes" in results and "gt_masks" not in results:
            data["keypoints"] = rb.rboxes_to_corners(results["gt_rbboxes"]).reshape(-1, 2).astype(np.float32)
            data["corner_ids"] = np.arange(4 * n)
        return data

    def _unpack(self, results: dict, moved: dict, n: int) -> None:
        h, w = results["img"].shape[:2]
        img = results["img"] = np.ascontiguousarray(moved["image"])
        if "gt_panoptic" in results:
            results["gt_panoptic"] = moved["gt_panoptic"].astype(np.int32)
        if "gt_depth" in results:
            results["gt_depth"] = np.ascontiguousarray(moved["gt_depth"], np.float32)
        if "gt_sem_seg" in results:
            results["gt_sem_seg"] = _decode_labels(moved["gt_sem_seg"], results["gt_sem_seg"].dtype)
        if self._moving:
            functional.record_move(results, f"Albu {self._moving}")
        else:
            functional.record_scale(results, (h, w), img.shape[:2])
        results["img_shape"] = img.shape[:2]
        if self._moving or img.shape[:2] != (h, w):
            results.pop("gt_areas", None)  # of the instances in the previous frame
        if "gt_masks" in results:
            masks = moved.get("masks")
            empty = np.zeros((0, *img.shape[:2]), np.uint8)
            results["gt_masks"] = empty if masks is None else np.ascontiguousarray(masks, np.uint8)
        if not n:
            return
        keep = np.ones(n, bool)
        if "gt_rbboxes" in results:
            if "gt_masks" in results:
                functional.refit_rboxes(results)
            else:
                results["gt_rbboxes"], whole = _refit(moved["keypoints"], moved["corner_ids"], n)
                keep &= whole
        if "gt_bboxes" in results:
            boxes = np.zeros((n, 4), np.float32)
            if "gt_masks" in results:
                boxes = np.stack([functional.mask_to_box(mask) for mask in results["gt_masks"]])
            elif "gt_rbboxes" in results:
                boxes = rb.rboxes_to_hboxes(results["gt_rbboxes"])
            else:
                ids = np.asarray(moved["box_ids"], np.int64)
                boxes[ids] = np.asarray(moved["bboxes"], np.float32).reshape(-1, 4)
                keep &= np.isin(np.arange(n), ids)
            results["gt_bboxes"] = boxes
        functional.keep_instances(results, keep)
        functional.clip_instances(results, min_visibility=self.min_visibility)
        functional.record_vanished(results, n - functional.count_instances(results))


def _size(img: np.ndarray) -> str:
    return f"{img.shape[0]}x{img.shape[1]} (h x w)"


def _refit(points: np.ndarray, ids: Sequence[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Convert corners with ids 4 i + k to (n, 5) boxes; a single missing corner is reconstructed.

    Returns:
        The boxes, and whether each has at least three corners (n,).
    """
    corners, seen = np.zeros((4 * n, 2), np.float32), np.zeros(4 * n, bool)
    ids = np.asarray(ids, np.int64)
    corners[ids], seen[ids] = np.asarray(points, np.float32).reshape(-1, 2), True
    corners, seen = corners.reshape(n, 4, 2), seen.reshape(n, 4)
    for i in np.flatnonzero(seen.sum(axis=1) == 3):
        k = int(np.flatnonzero(~seen[i])[0])
        corners[i, k] = corners[i, k - 1] + corners[i, (k + 1) % 4] - corners[i, k - 2]
    return rb.corners_to_rboxes(corners), seen.sum(axis=1) >= 3


def _encode_labels(labels: np.ndarray) -> np.ndarray:
    """Encode class c as c + 1 and ignored pixels as 0."""
    if labels.dtype == np.uint8:
        return labels + np.uint8(1)  # 255 wraps to 0
    return np.where(labels == 255, 0, labels + 1).astype(np.float32)


def _decode_labels(moved: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Undo `_encode_labels`."""
    if dtype == np.uint8:
        return moved.astype(np.uint8) - np.uint8(1)
    return np.where(moved == 0, 255, moved - 1).astype(dtype)


def _compose(steps: Sequence[Mapping[str, Any]], min_visibility: float):
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks a server for its latest version
    import albumentations as A

    return A.Compose(
        [build_step(A, step, f"transforms[{i}]") for i, step in enumerate(steps)],
        bbox_params=A.BboxParams(
            format="pascal_voc",
            label_fields=["box_ids"],
            min_visibility=min_visibility,
            clip=True,
            filter_invalid_bboxes=True,
        ),
        keypoint_params=A.KeypointParams(format="xy", label_fields=["corner_ids"], remove_invisible=False),
        additional_targets=dict.fromkeys((*_MAPS, "gt_sem_seg"), "mask"),
        mask_interpolation=cv2.INTER_NEAREST,
    )


def _holds(compose, name: str) -> bool:
    """Return whether the composition contains a transform of that class, at any depth."""
    parts = getattr(compose, "transforms", None)
    return type(compose).__name__ == name if parts is None else any(_holds(part, name) for part in parts)


def _moving(compose) -> str:
    """Return the name of the first transform that changes coordinates other than by resizing, or ""."""
    for step in compose.transforms:
        if hasattr(step, "transforms"):
            name = _moving(step)
        else:
            kind = type(step)
            moves = any(part in kind.__module__ for part in (".geometric.", ".crops.", ".mixing."))
            name = kind.__name__ if moves and not kind.__module__.endswith(".resize") else ""
        if name:
            return name
    return ""
