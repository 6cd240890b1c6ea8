"""Predictions as plain data for a JSON file; maps (segmentation, depth, images) go into files beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def to_plain_results(sample, folder: Path | None, name: str, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Every `pred_*` field of a DataSample as plain Python.

    Args:
        sample: a DataSample.
        folder: where maps are written as NAME_<kind>.png: class indices and segment ids (8 or 16 bits), depth in
            millimetres (16 bits); None: maps are left out.
        name: beginning of the file names.
        classes: names, to stand beside label numbers.
    """
    sample = sample.cpu().numpy()
    result: dict[str, Any] = {}
    if "ori_shape" in sample:
        result["size"] = [int(side) for side in sample.ori_shape]
    if "pred_label" in sample:
        label = int(np.ravel(sample.pred_label.label)[0])
        result["label"] = _named(label, classes)
        if "score" in sample.pred_label:
            result["score"] = float(np.ravel(sample.pred_label.score)[label])
    if "pred_instances" in sample:
        result["instances"] = _instances(sample.pred_instances, classes)
    for kind, scale in (("sem_seg", 1), ("panoptic", 1), ("depth", 1000)):
        field = sample.get(f"pred_{kind}")
        if field is not None and folder is not None:
            result[kind] = _write_map(np.asarray(field.data).squeeze(0) * scale, folder, f"{name}_{kind}.png")
        if field is not None and kind == "panoptic":
            result["segments"] = _plain(field.get("segments_info", []))
    if "pred_image" in sample and folder is not None:
        pixels = (np.asarray(sample.pred_image, np.float32) * 255).round().clip(0, 255).astype(np.uint8)
        result["image"] = _write(pixels.transpose(1, 2, 0)[..., ::-1], folder, f"{name}_image.png")
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
        if "masks" in found:
            row["mask"] = _run_lengths(np.asarray(found.masks[i]))
        rows.append(row)
    return rows


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coco

    coded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode()}


def _named(label: int, classes: Sequence[str] | None) -> int | dict[str, Any]:
    return {"id": label, "name": classes[label]} if classes is not None and 0 <= label < len(classes) else label


def _write_map(values: np.ndarray, folder: Path, name: str) -> str:
    values = np.rint(values).clip(0, 65535)
    return _write(values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16), folder, name)


def _write(pixels: np.ndarray, folder: Path, name: str) -> str:
    import cv2

    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), np.ascontiguousarray(pixels))
    return name


def _plain(value: Any) -> Any:
    """Arrays and numpy numbers inside lists and dicts as plain Python."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value
