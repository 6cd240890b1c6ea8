"""Convert predictions to JSON data; maps (segmentation, depth, images) are written to image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vislab.errors import DataError
from vislab.structures.rotated_boxes import to_dota


def to_plain_results(sample, folder: Path | None, name: str, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Convert all `pred_*` fields of a DataSample to Python objects.

    Args:
        sample: A DataSample.
        folder: Folder in which maps are written as NAME_<kind>.png: class indices and segment ids (8 or 16 bits), depth
            in millimeters (16 bits; as float32 .tiff in meters beyond 65.5 m). None: maps are skipped.
        name: Prefix of the file names.
        classes: Class names, added to labels.

    Boxes are `bbox` (x1, y1, x2, y2); rotated boxes `rbbox` (cx, cy, w, h, theta: radians, clockwise) and `corners`
    (x1, y1, .. y4, clockwise), in pixels of the image.
    """
    sample = sample.cpu().numpy()
    result: dict[str, Any] = {}
    if "ori_shape" in sample:
        result["size"] = [int(side) for side in sample.ori_shape]
    if "pred_label" in sample:
        label = int(np.ravel(sample.pred_label.label)[0])
        result["label"] = _named(label, classes)
        if "score" in sample.pred_label:
            scores = np.ravel(sample.pred_label.score)
            result["score"] = float(scores[label])
            best = np.argsort(-scores, kind="stable")[:5].tolist()
            result["top"] = [{"label": _named(k, classes), "score": float(scores[k])} for k in best]
    if "pred_instances" in sample:
        result["instances"] = _instances(sample.pred_instances, classes)
    for kind in ("sem_seg", "panoptic", "depth"):
        field = sample.get(f"pred_{kind}")
        if field is not None and folder is not None:
            write = _write_depth if kind == "depth" else _write_map
            result[kind] = write(np.asarray(field.data).squeeze(0), folder, f"{name}_{kind}")
        if field is not None and kind == "panoptic":
            result["segments"] = _plain(field.get("segments_info", []))
    if "pred_image" in sample and folder is not None:
        pixels = (np.asarray(sample.pred_image, np.float32) * 255).round().clip(0, 255).astype(np.uint8)
        result["image"] = write_image(pixels.transpose(1, 2, 0)[..., ::-1], folder, f"{name}_image.png")
    return result


def _instances(found, classes: Sequence[str] | None) -> list[dict]:
    rows = []
    for i in range(len(found)):
        row = {"label": _named(int(found.labels[i]), classes)} if "labels" in found else {}
        if "scores" in found:
            row["score"] = float(found.scores[i])
        for key, plain in (("bboxes", "bbox"), ("rbboxes", "rbbox")):
            if key in found:
                row[plain] = [round(float(v), 4) for v in found[key][i]]
        if "rbboxes" in found:
            row["corners"] = [round(float(v), 2) for v in to_dota(np.asarray(found.rbboxes[i], np.float64))]
        if "masks" in found:
            row["mask"] = as_rle(found.masks[i])
        rows.append(row)
    return rows


def as_rle(mask: Any) -> dict[str, Any]:
    """Return COCO's RLE of a mask (H, W), or of the RLE of a model with `rle_masks`, with text in place of bytes."""
    from pycocotools import mask as coco

    coded = mask if isinstance(mask, dict) else coco.encode(np.asfortranarray(np.asarray(mask).astype(np.uint8)))
    return {"size": [int(side) for side in coded["size"]], "counts": bytes(coded["counts"]).decode()}


def _named(label: int, classes: Sequence[str] | None) -> int | dict[str, Any]:
    return {"id": label, "name": classes[label]} if classes is not None and 0 <= label < len(classes) else label


def _write_depth(depth: np.ndarray, folder: Path, name: str) -> str:
    depth = np.nan_to_num(depth.astype(np.float32), posinf=0, neginf=0)
    if depth.max(initial=0) * 1000 > 65535:
        return write_image(depth, folder, f"{name}.tiff")
    return write_image(np.rint(depth * 1000).clip(0).astype(np.uint16), folder, f"{name}.png")


def _write_map(values: np.ndarray, folder: Path, name: str) -> str:
    values = np.rint(values).clip(0, 65535)
    return write_image(values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16), folder, f"{name}.png")


def write_image(pixels: np.ndarray, folder: Path, name: str) -> str:
    """Write an image (H, W) or BGR (H, W, 3) to a folder; returns its name.

    Raises:
        DataError: The image cannot be written.
    """
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(target), np.ascontiguousarray(pixels))
    except (OSError, cv2.error) as error:
        raise DataError(f"cannot write {target}: {error}") from error
    if not written:
        raise DataError(f"cannot write {target}: is the folder writable, the disk full, the name too long?")
    return name


def _plain(value: Any) -> Any:
    """Convert arrays and NumPy scalars in nested lists and dicts to Python objects."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
