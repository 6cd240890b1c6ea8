"""COCO's average precision of boxes and masks, by faster-coco-eval where it is installed, else by pycocotools.

Both give the same numbers; the first is about ten times faster. Ground truth comes from the samples, so that any
dataset with instances can be measured, and one pass gives AP beside PQ and mIoU.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric

from vislab.errors import ConfigError, DataError
from vislab.registry import METRICS

_NAMES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """AP in per cent: bbox_mAP, bbox_mAP_50, ... and segm_mAP, segm_mAP_50, ... as asked for.

    Reads pred_instances (labels, scores, bboxes, masks) and gt_instances (labels, bboxes, masks, ignore) at the
    original size; masks are (N, H, W) or run lengths. Ignored instances are COCO's crowds. Sizes without a single
    ground-truth instance are left out.

    Args:
        kinds: "bbox", "segm" or both.
        max_detections: An image.
        backend: "auto", "faster" or "pycocotools".
        collect_device: See mmengine's BaseMetric.
        prefix: Put before the names.

    Raises:
        DataError: predictions or labels lack what is measured.
    """

    default_prefix = None

    def __init__(
        self,
        *,
        kinds: Sequence[Literal["bbox", "segm"]] = ("bbox",),
        max_detections: int = 100,
        backend: Literal["auto", "faster", "pycocotools"] = "auto",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if not self.kinds or set(self.kinds) - {"bbox", "segm"}:
            raise ConfigError(f"CocoMetric: kinds={self.kinds}; known are bbox and segm")
        if backend not in ("auto", "faster", "pycocotools"):
            raise ConfigError(f"CocoMetric: backend={backend!r} is not one of auto, faster, pycocotools")
        self.max_detections = max_detections
        self.backend = backend

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            name = sample.get("img_path", "a sample")
            for key in ("gt_instances", "pred_instances"):
                if key not in sample:
                    raise DataError(f"CocoMetric: {name} has no {key}")
            truth, found = sample["gt_instances"], sample["pred_instances"]
            size = tuple(int(side) for side in sample["ori_shape"])
            result = {"size": size, "gt": self._items(truth, size, name), "dt": self._items(found, size, name)}
            if "scores" not in found:
                raise DataError(f"CocoMetric: pred_instances of {name} have no scores")
            result["scores"] = _array(found["scores"]).astype(float)
            ignore = truth.get("ignore")
            result["crowd"] = (
                np.zeros(len(result["gt"]["labels"]), int) if ignore is None else _array(ignore).astype(int)
            )
            self.results.append(result)

    def _items(self, instances: dict, size: tuple[int, int], name: str) -> dict:
        items = {"labels": _array(instances["labels"]).astype(int)}
        if "bboxes" in instances:
            boxes = _array(instances["bboxes"]).astype(float).reshape(-1, 4)
            items["bboxes"] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        elif "bbox" in self.kinds:
            raise DataError(f"CocoMetric: {name} has instances without bboxes")
        if "segm" in self.kinds:
            if "masks" not in instances:
                raise DataError(
                    f"CocoMetric: {name} has instances without masks: LoadAnnotations(mask=True) reads them"
                )
            items["masks"] = encode_masks(instances["masks"], size, name)
        return items

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        metrics = {}
        for kind in self.kinds:
            values = coco_ap(results, kind, self.backend, self.max_detections)
            metrics |= {f"{kind}_{key}": 100 * value for key, value in values.items() if value >= 0}
        return metrics


def coco_ap(results: Sequence[dict], kind: str, backend: str = "auto", max_detections: int = 100) -> dict[str, float]:
    """AP as fractions from what `CocoMetric.process` keeps of each image; -1 where there is no ground truth."""
    images, annotations, detections = [], [], []
    for image_id, result in enumerate(results, start=1):
        height, width = result["size"]
        images.append({"id": image_id, "height": height, "width": width})
        for i, label in enumerate(result["gt"]["labels"]):
            item = _entry(result["gt"], i, image_id, int(label), kind)
            item |= {"id": len(annotations) + 1, "iscrowd": int(result["crowd"][i])}
            annotations.append(item)
        for i, label in enumerate(result["dt"]["labels"]):
            item = _entry(result["dt"], i, image_id, int(label), kind)
            detections.append(item | {"score": float(result["scores"][i]), "id": len(detections) + 1})
    if not annotations:
        return dict.fromkeys(_NAMES, -1.0)
    if not detections:
        return dict.fromkeys(_NAMES, 0.0)
    coco_class, eval_class = _backend(backend)
    labels = sorted({a["category_id"] for a in annotations} | {d["category_id"] for d in detections})
    content = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": str(i)} for i in labels]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = content
        truth.createIndex()
        found = truth.loadRes(detections)
        evaluation = eval_class(truth, found, kind)
        evaluation.params.maxDets = [1, min(10, max_detections), max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation)


def _summary(evaluation: Any) -> dict[str, float]:
    """The six numbers out of the table of precisions (IoU, recall, class, area, detections)."""
    precision = np.asarray(evaluation.eval["precision"])
    thresholds = np.asarray(evaluation.params.iouThrs)

    def mean(table: np.ndarray) -> float:
        valid = table[table > -1]
        return float(valid.mean()) if valid.size else -1.0

    at = {t: int(np.argmin(np.abs(thresholds - t))) for t in (0.5, 0.75)}
    every = precision[..., 0, -1]
    values = (mean(every), mean(every[at[0.5]]), mean(every[at[0.75]]))
    sizes = tuple(mean(precision[..., area, -1]) for area in (1, 2, 3))
    return dict(zip(_NAMES, values + sizes, strict=True))


def _backend(name: str) -> tuple[type, type]:
    if name in ("auto", "faster"):
        try:
            from faster_coco_eval import COCO, COCOeval_faster

            return COCO, COCOeval_faster
        except ImportError:
            if name == "faster":
                raise ConfigError(
                    "CocoMetric: backend='faster' needs faster-coco-eval, which is not installed"
                ) from None
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


def _entry(items: dict, index: int, image_id: int, label: int, kind: str) -> dict:
    entry = {"image_id": image_id, "category_id": label + 1}  # COCO's tools take 0 for no category
    if kind == "segm":
        from pycocotools import mask as coco

        rle = items["masks"][index]
        return entry | {"segmentation": rle, "area": float(coco.area(rle)), "bbox": coco.toBbox(rle).tolist()}
    box = items["bboxes"][index]
    area = float(box[2] * box[3])
    if "masks" in items:  # as in COCO's files: the area that sorts into small, medium, large is the mask's
        from pycocotools import mask as coco

        area = float(coco.area(items["masks"][index]))
    return entry | {"bbox": box.tolist(), "area": area}


def encode_masks(masks: Any, size: tuple[int, int], name: str) -> list[dict]:
    """(N, H, W) masks, or run lengths already, as compressed run lengths."""
    if isinstance(masks, list | tuple):
        return [dict(m) for m in masks]
    from pycocotools import mask as coco

    array = _array(masks)
    if array.shape[1:] != tuple(size) and len(array):
        raise DataError(f"CocoMetric: masks of {name} are {array.shape[1:]}, the image is {tuple(size)} (h, w)")
    if not len(array):
        return []
    return coco.encode(np.asfortranarray(array.astype(np.uint8).transpose(1, 2, 0)))


def _array(data: Any) -> np.ndarray:
    return data.cpu().numpy() if hasattr(data, "cpu") else np.asarray(data)
