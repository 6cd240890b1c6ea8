"""Moves an image and every kind of label together: resize, crop, pad, flip, on the result dictionary of a pipeline.

Transforms choose parameters; these functions alone know which keys exist and how each one moves. All change `results`
in place and accept images without instances. Pixel (x, y) covers [x, x+1] x [y, y+1]; labels are sampled at pixel
centers, the same points at which the image is.

They also keep account of the frame: `scale_factor` says how the image was scaled since it was read, `gt_scale_factor`
how its instances were, which may have been loaded later (`map_scale_factors`, by key: the maps); `moved` names what
else was done to it (crop, flip, pad); `num_vanished` counts the instances that lost their last pixel to resizing.
"""

import cv2
import numpy as np

from vislab.structures import rotated_boxes as rb

# what runs over instances: an instance that vanishes leaves all of them
INSTANCE_KEYS = ("gt_bboxes", "gt_rbboxes", "gt_labels", "gt_masks", "gt_areas", "gt_ignore", "gt_ids")
# maps of the image's size, with the value that stands for "not known"
MAP_FILL = {"gt_sem_seg": 255, "gt_panoptic": 0, "gt_depth": 0}
DIRECTIONS = {"horizontal": 1, "vertical": 0, "diagonal": -1}  # cv2.flip's codes

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
INTERPOLATIONS = ("auto", *_INTERPOLATION)


def resize(results: dict, size: tuple[int, int], interpolation: str = "auto", scale_depth: bool = False) -> None:
    """Stretch to `size` (h, w). Labels move by nearest pixel center; instances whose mask has no pixel left go.

    Args:
        results: The sample.
        size: New height and width in pixels, at least 1.
        interpolation: For the image; "auto" averages areas when shrinking and is bilinear otherwise.
        scale_depth: Divide metric depth by the zoom, as if the camera had moved instead of the picture being stretched.
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
            if "gt_masks" in results and abs(sx / sy - 1) > 0.02:  # sheared boxes are loose, masks know better
                refit_rboxes(results)
        if "gt_areas" in results:
            results["gt_areas"] = results["gt_areas"] * (sx * sy)
        if scale_depth and "gt_depth" in results:
            results["gt_depth"] = results["gt_depth"] / np.float32(np.sqrt(sx * sy))
    results["img_shape"] = (new_h, new_w)


def resize_image(img: np.ndarray, size: tuple[int, int], interpolation: str = "auto") -> np.ndarray:
    """(H, W, 3) to (h, w, 3); see `resize`."""
    if interpolation == "auto":
        shrinks = size[0] <= img.shape[0] and size[1] <= img.shape[1]
        interpolation = "area" if shrinks else "bilinear"
    return cv2.resize(img, size[::-1], interpolation=_INTERPOLATION[interpolation])


def crop(results: dict, window: tuple[int, int, int, int], min_visibility: float = 0.0) -> None:
    """Cut out `window` (top, left, height, width), which lies within the image, and drop instances left outside.

    Boxes are cut at the border; where there are masks, cut boxes are fitted anew to what is left of the mask. An
    instance goes when less than a pixel, or less than `min_visibility` of its box's area (0..1), is left.
    """
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
    results.pop("gt_areas", None)  # of whole instances, which may have been cut
    results["img_shape"] = (h, w)
    clip_instances(results, min_visibility=min_visibility)


def pad(results: dict, size: tuple[int, int], value: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Enlarge to at least `size` (h, w) at the bottom and right; labels get their "not known" value there."""
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
    """Mirror: horizontal (left to right), vertical, or diagonal (both)."""
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


def clip_instances(results: dict, *, min_visibility: float = 0.0, min_size: float = 1.0) -> None:
    """Cut boxes at the image border, fit cut ones to their masks where there are any, and drop what has vanished.

    Args:
        results: The sample.
        min_visibility: Share of an instance's box that must be left, 0..1.
        min_size: Least width and height of the axis-aligned box that is left, pixels.
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
    """Select instances by a boolean or index array, in every kind of label at once."""
    if keep.dtype == bool and keep.all():
        return
    for key in INSTANCE_KEYS:
        if key in results:
            results[key] = results[key][keep]


def count_instances(results: dict) -> int | None:
    """Number of instances; None when the sample has no kind of instance label at all."""
    return next((len(results[key]) for key in INSTANCE_KEYS if key in results), None)


def refit_rboxes(results: dict) -> None:
    """Fit the rotated boxes anew to the masks."""
    fitted = [rb.mask_to_rbox(mask) for mask in results["gt_masks"]]
    results["gt_rbboxes"] = np.array(fitted, np.float32).reshape(-1, 5)


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """(H, W) mask to the xyxy box around its pixels, float32; zeros for an empty mask."""
    x, y, w, h = cv2.boundingRect(mask)
    return np.array([x, y, x + w, y + h], np.float32)


def record_scale(results: dict, old: tuple[int, int], new: tuple[int, int]) -> None:
    """Notes a stretch from size `old` to `new` (h, w) for the image, and for the labels that moved with it."""
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
    """Notes that the instances were made from the map `key`, and so lie in its frame."""
    results["gt_scale_factor"] = results.get("map_scale_factors", {}).get(key, (1.0, 1.0))


def record_vanished(results: dict, count: int) -> None:
    """Notes how many instances lost their last pixel, for metrics, which would not count them."""
    if count:
        results["num_vanished"] = results.get("num_vanished", 0) + count


def record_move(results: dict, name: str) -> None:
    """Notes that the image left the frame of its file, by a crop, a flip or the like."""
    if name not in results.get("moved", ()):
        results["moved"] = (*results.get("moved", ()), name)


def _nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if array.dtype == np.int64:  # OpenCV knows 32 bits
        return cv2.resize(array.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int64)
    return cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _resize_masks(masks: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """As `_nearest` for (N, H, W) masks, touching only the pixels around each object; and which have a pixel (N,)."""
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
