"""Functional transforms of an image and all its labels: resize, crop, pad, flip.

The functions modify the dictionary `results` in place; its keys are listed in vislab/datasets/transforms/__init__.py.
The transform classes only choose parameters. Pixel (x, y) covers [x, x+1] x [y, y+1]; image and labels are sampled at
the same pixel centers.

Masks of patches and second views are made for the image as it is: after them, the functions refuse the sample.

The functions also track the coordinate frame: `scale_factor` is the scale of the image since it was loaded,
`gt_scale_factor` and `map_scale_factors` those of the instances and maps, which may have been loaded later; `moved`
lists other changes (crop, flip, pad); `num_vanished` counts instances that lost all pixels when resized.
"""

import cv2
import numpy as np
from PIL import Image

from vislab.errors import ConfigError
from vislab.structures import rotated_boxes as rb
from vislab.structures.data_sample import MAP_FILL

# labels with one entry per instance
INSTANCE_KEYS = (
    *("gt_bboxes", "gt_rbboxes", "gt_labels", "gt_masks", "gt_areas", "gt_ignore", "gt_ids", "gt_embeddings"),
)
FIXED_KEYS = ("patch_mask", "target_img")  # belong to the image as it is, and are not moved with it
DIRECTIONS = {"horizontal": 1, "vertical": 0, "diagonal": -1}  # cv2.flip's codes

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
INTERPOLATIONS = ("auto", "antialiased", *_INTERPOLATION)


def resize(results: dict, size: tuple[int, int], interpolation: str = "auto", scale_depth: bool = False) -> None:
    """Resize image and labels to `size` (h, w).

    Label maps are resized with nearest-neighbor interpolation; instances whose mask has no pixels left are removed.

    Args:
        results: The sample.
        size: New height and width in pixels, at least 1.
        interpolation: Interpolation of the image; "auto" is area for shrinking and bilinear otherwise,
            "antialiased" Pillow's bicubic, with which timm's and torchvision's classifiers are tested.
        scale_depth: Divide metric depth by the scale factor, as if the camera had moved.
    """
    h, w = results["img"].shape[:2]
    new_h, new_w = size
    sx, sy = new_w / w, new_h / h
    record_scale(results, (h, w), size)
    if (new_h, new_w) != (h, w):
        results["img"] = resize_image(results["img"], size, interpolation)
        for key in MAP_FILL:
            if key in results:
                results[key] = _nearest(results[key], size)
        if "gt_masks" in results:
            results["gt_masks"], visible = _resize_masks(results["gt_masks"], size)
            if not visible.all():
                record_vanished(results, int((~visible).sum()))
                keep_instances(results, visible)
        if "gt_bboxes" in results:
            results["gt_bboxes"] = results["gt_bboxes"] * np.array([sx, sy, sx, sy], np.float32)
        if "gt_rbboxes" in results:
            results["gt_rbboxes"] = rb.scale(results["gt_rbboxes"], sx, sy).astype(np.float32)
            if "gt_masks" in results and abs(sx / sy - 1) > 0.02:  # sheared boxes are not tight, masks are
                refit_rboxes(results)
        if "gt_areas" in results:
            results["gt_areas"] = results["gt_areas"] * (sx * sy)
        if scale_depth and "gt_depth" in results:
            results["gt_depth"] = results["gt_depth"] / np.float32(np.sqrt(sx * sy))
    results["img_shape"] = (new_h, new_w)


def resize_image(img: np.ndarray, size: tuple[int, int], interpolation: str = "auto") -> np.ndarray:
    """Resize an image (H, W, 3) to (h, w, 3); see `resize`."""
    if interpolation == "auto":
        shrinks = size[0] <= img.shape[0] and size[1] <= img.shape[1]
        interpolation = "area" if shrinks else "bilinear"
    if interpolation == "antialiased":
        return np.array(Image.fromarray(img).resize(size[::-1], Image.Resampling.BICUBIC))
    return cv2.resize(img, size[::-1], interpolation=_INTERPOLATION[interpolation])


def crop(results: dict, window: tuple[int, int, int, int], min_visibility: float = 0.0) -> None:
    """Crop `window` (top, left, height, width), which must be inside the image, and remove instances outside.

    Boxes are clipped at the border; if there are masks, clipped boxes are refitted to them. Instances are removed if
    less than a pixel, or less than the fraction `min_visibility` of the area of their box, is visible.
    """
    refuse_fixed(results, "crop")
    top, left, h, w = window
    if (h, w) != results["img"].shape[:2]:
        record_move(results, "crop")
    rows, columns = slice(top, top + h), slice(left, left + w)
    results["img"] = np.ascontiguousarray(results["img"][rows, columns])
    for key in MAP_FILL:
        if key in results:
            results[key] = np.ascontiguousarray(results[key][rows, columns])
    if "gt_masks" in results:
        results["gt_masks"] = np.ascontiguousarray(results["gt_masks"][:, rows, columns])
    if "gt_bboxes" in results:
        results["gt_bboxes"] = results["gt_bboxes"] - np.array([left, top, left, top], np.float32)
    if "gt_rbboxes" in results:
        results["gt_rbboxes"] = rb.translate(results["gt_rbboxes"], -left, -top).astype(np.float32)
    results.pop("gt_areas", None)  # areas of whole instances, which may be clipped now
    results["img_shape"] = (h, w)
    clip_instances(results, min_visibility=min_visibility)


def pad(results: dict, size: tuple[int, int], value: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Pad to at least `size` (h, w) at the bottom and right; labels are padded with their "unknown" value."""
    refuse_fixed(results, "pad")
    h, w = results["img"].shape[:2]
    down, right = max(size[0] - h, 0), max(size[1] - w, 0)
    if down or right:
        record_move(results, "pad")
        results["img"] = cv2.copyMakeBorder(results["img"], 0, down, 0, right, cv2.BORDER_CONSTANT, value=list(value))
        for key, fill in MAP_FILL.items():
            if key in results:
                results[key] = np.pad(results[key], ((0, down), (0, right)), constant_values=fill)
        if "gt_masks" in results:
            results["gt_masks"] = np.pad(results["gt_masks"], ((0, 0), (0, down), (0, right)))
    results["img_shape"] = (h + down, w + right)


def flip(results: dict, direction: str) -> None:
    """Flip in `direction`: "horizontal" (left to right), "vertical", or "diagonal" (both)."""
    refuse_fixed(results, "flip")
    code = DIRECTIONS[direction]
    h, w = results["img"].shape[:2]
    results["img"] = cv2.flip(results["img"], code)
    for key in MAP_FILL:
        if key in results:
            results[key] = _flip_map(results[key], code)
    if "gt_masks" in results:
        results["gt_masks"] = _stack([cv2.flip(mask, code) for mask in results["gt_masks"]], (h, w))
    if "gt_bboxes" in results:
        x1, y1, x2, y2 = results["gt_bboxes"].T
        if code:
            x1, x2 = w - x2, w - x1
        if code < 1:
            y1, y2 = h - y2, h - y1
        results["gt_bboxes"] = np.stack([x1, y1, x2, y2], axis=1)
    if "gt_rbboxes" in results:
        results["gt_rbboxes"] = rb.flip(results["gt_rbboxes"], (h, w), direction).astype(np.float32)
    record_move(results, "flip")
    results["flip"] = True
    results["flip_direction"] = direction


def refuse_fixed(results: dict, change: str) -> None:
    """Raise ConfigError if the sample has a mask of patches or a second view, which `change` would not move."""
    fixed = [key for key in FIXED_KEYS if key in results]
    if fixed:
        raise ConfigError(
            f"{change} after {fixed[0]} was made: it belongs to the image as it was. Put the transform that makes "
            f"{fixed[0]} after all transforms that crop, resize, flip or pad"
        )


def clip_instances(results: dict, *, min_visibility: float = 0.0, min_size: float = 1.0) -> None:
    """Clip boxes at the image border, refit them to masks if there are any, and remove instances that are not visible.

    Args:
        results: The sample.
        min_visibility: Minimum visible fraction of an instance's box, in [0, 1].
        min_size: Minimum width and height of the clipped box in pixels.
    """
    n = count_instances(results)
    if n is None or n == 0:
        return
    h, w = results["img"].shape[:2]
    keep = np.ones(n, bool)
    masks = results.get("gt_masks")
    if masks is not None:
        keep &= masks.reshape(n, -1).view(bool).any(axis=1)
    if "gt_bboxes" in results:
        full = results["gt_bboxes"]
        boxes = np.clip(full, 0, np.array([w, h, w, h], np.float32))
        keep &= _area(boxes) >= min_visibility * _area(full)
        if masks is not None:
            for i in np.flatnonzero(keep & (boxes != full).any(axis=1)):
                boxes[i] = mask_to_box(masks[i])
        keep &= ((boxes[:, 2:] - boxes[:, :2]) >= min_size).all(axis=1)
        results["gt_bboxes"] = boxes
    if "gt_rbboxes" in results:
        boxes, share = rb.clip_to_window(results["gt_rbboxes"], (h, w))
        keep &= (share > 0) & (share >= min_visibility)
        if masks is not None:
            for i in np.flatnonzero(keep & (boxes != results["gt_rbboxes"]).any(axis=1)):
                boxes[i] = rb.mask_to_rbox(masks[i])
        hull = rb.rboxes_to_hboxes(boxes)
        keep &= ((hull[:, 2:] - hull[:, :2]) >= min_size).all(axis=1)
        results["gt_rbboxes"] = boxes
    keep_instances(results, keep)


def keep_instances(results: dict, keep: np.ndarray) -> None:
    """Select instances by a boolean or index array, in all instance labels."""
    if keep.dtype == bool and keep.all():
        return
    for key in INSTANCE_KEYS:
        if key in results:
            results[key] = results[key][keep]


def count_instances(results: dict) -> int | None:
    """Return the number of instances; None if the sample has no instance labels."""
    return next((len(results[key]) for key in INSTANCE_KEYS if key in results), None)


def refit_rboxes(results: dict) -> None:
    """Refit the rotated boxes to the masks."""
    fitted = [rb.mask_to_rbox(mask) for mask in results["gt_masks"]]
    results["gt_rbboxes"] = np.array(fitted, np.float32).reshape(-1, 5)


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """Return the box (4,) xyxy float32 around the pixels of an (H, W) mask; zeros for an empty mask."""
    x, y, w, h = cv2.boundingRect(mask)
    return np.array([x, y, x + w, y + h], np.float32)


def record_scale(results: dict, old: tuple[int, int], new: tuple[int, int]) -> None:
    """Record that the image and its labels were resized from `old` to `new` (h, w)."""
    if old != new:
        refuse_fixed(results, "resize")
    sx, sy = new[1] / old[1], new[0] / old[0]
    for key in ("scale_factor",) if count_instances(results) is None else ("scale_factor", "gt_scale_factor"):
        before = results.get(key, (1.0, 1.0))
        results[key] = (before[0] * sx, before[1] * sy)
    maps = dict(results.get("map_scale_factors", {}))
    for key in MAP_FILL:
        if key in results:
            before = maps.get(key, (1.0, 1.0))
            maps[key] = (before[0] * sx, before[1] * sy)
    results["map_scale_factors"] = maps


def inherit_scale(results: dict, key: str) -> None:
    """Record that the instances were created from the map `key` and have its scale."""
    results["gt_scale_factor"] = results.get("map_scale_factors", {}).get(key, (1.0, 1.0))


def record_vanished(results: dict, count: int) -> None:
    """Record how many instances lost all pixels, for metrics, which would not count them."""
    if count:
        results["num_vanished"] = results.get("num_vanished", 0) + count


def record_move(results: dict, name: str) -> None:
    """Record that the coordinates of the image changed by a crop, flip or similar transform."""
    if name not in results.get("moved", ()):
        results["moved"] = (*results.get("moved", ()), name)


def _nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if array.dtype == np.int64:  # OpenCV supports up to 32 bits
        return cv2.resize(array.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int64)
    return cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _resize_masks(masks: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize (N, H, W) masks like `_nearest`, inside their bounding boxes only; also returns which have pixels (N,)."""
    h, w = masks.shape[1:]
    rows = _nearest(np.arange(h, dtype=np.int32)[:, None], (size[0], 1))[:, 0]  # source row of each new row
    columns = _nearest(np.arange(w, dtype=np.int32)[None], (1, size[1]))[0]
    resized = np.zeros((len(masks), *size), np.uint8)
    visible = np.zeros(len(masks), bool)
    for k, (mask, out) in enumerate(zip(masks, resized, strict=True)):
        x, y, width, height = cv2.boundingRect(mask)
        top, bottom = np.searchsorted(rows, (y, y + height))
        left, right = np.searchsorted(columns, (x, x + width))
        part = mask[rows[top:bottom, None], columns[left:right]]
        out[top:bottom, left:right] = part
        visible[k] = part.view(bool).any()
    return resized, visible


def _flip_map(array: np.ndarray, code: int) -> np.ndarray:
    if array.dtype == np.int64:
        rows, columns = slice(None, None, -1 if code < 1 else 1), slice(None, None, -1 if code else 1)
        return np.ascontiguousarray(array[rows, columns])
    return cv2.flip(array, code)


def _stack(masks: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, *size), np.uint8)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
