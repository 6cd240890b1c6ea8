"""The prediction file of `tools/test.py --out`: a pickled list with one dict per image.

    predictions = pickle.load(open("predictions.pkl", "rb"))

Each dict contains Python objects and NumPy arrays, in the frame of the original image:

- `img_path`: str or None; `size`: (height, width);
- `label`: int, and `score`: (C,) float32, for classification;
- `sem_seg`: (H, W) class indices; `panoptic`: (H, W) segment ids, with `segments`: list of dict(id, category, ...);
  both in the smallest unsigned type;
- `depth`: (H, W) float32 meters; `image`: (H, W, 3) uint8 RGB;
- `instances`: dict of labels (N,), scores (N,) float32, bboxes (N, 4) float32 xyxy, rbboxes (N, 5) float32, and masks:
  list of N COCO RLE, which `pycocotools.mask.decode(masks)` converts to (H, W, N).
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco
from torch import Tensor

from vislab.io.atomic import write_atomically


class PredictionFile(BaseMetric):
    """A metric that collects the predictions of all processes and writes them to a file.

    Args:
        path: Path of the .pkl file, in an existing folder.
    """

    default_prefix = "predictions"

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping]) -> None:
        self.results += [compact(sample) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        write_atomically(self.path, lambda file: file.write(pickle.dumps(results, protocol=4)))
        return {}


def compact(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predictions of one image as described above.

    Args:
        sample: A DataSample converted to nested dicts.
    """
    shape = sample.get("ori_shape")
    found: dict[str, Any] = {"img_path": sample.get("img_path"), "size": None if shape is None else tuple(shape[:2])}
    if "pred_label" in sample:
        found["label"] = int(_array(sample["pred_label"]["label"]).ravel()[0])
        if "score" in sample["pred_label"]:
            found["score"] = _array(sample["pred_label"]["score"]).astype(np.float32)
    if "pred_sem_seg" in sample:
        found["sem_seg"] = smallest(_array(sample["pred_sem_seg"]["data"]).squeeze(0))
    if "pred_panoptic" in sample:
        found["panoptic"] = smallest(_array(sample["pred_panoptic"]["data"]).squeeze(0))
        found["segments"] = sample["pred_panoptic"].get("segments_info", [])
    if "pred_depth" in sample:
        found["depth"] = _array(sample["pred_depth"]["data"]).squeeze(0).astype(np.float32)
    if "pred_image" in sample:
        pixels = (_array(sample["pred_image"]).astype(np.float32) * 255).round().clip(0, 255).astype(np.uint8)
        found["image"] = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if "pred_instances" in sample:
        found["instances"] = _instances(sample["pred_instances"])
    return found


def _instances(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "masks":
            found[name] = [encode_rle(mask) for mask in value]
        elif name == "labels":
            found[name] = smallest(_array(value))
        elif name in ("scores", "bboxes", "rbboxes"):
            found[name] = _array(value).astype(np.float32)
    return found


def encode_rle(mask: Any) -> dict[str, Any]:
    """Return the COCO RLE of an (H, W) mask; RLE is returned unchanged."""
    if isinstance(mask, Mapping):
        return dict(mask)
    return coco.encode(np.asfortranarray(_array(mask).astype(np.uint8)))


def smallest(values: np.ndarray) -> np.ndarray:
    """Convert integers to the smallest integer type, unsigned if none is negative."""
    if not np.issubdtype(values.dtype, np.integer):
        return values
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fitting = [kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return values.astype(fitting[0]) if fitting else values


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    return np.asarray(value)
