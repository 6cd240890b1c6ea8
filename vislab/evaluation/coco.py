"""COCO average precision of boxes and masks, with faster-coco-eval if it is installed, else with pycocotools.

Both give the same numbers; the first is about ten times faster. The ground truth is taken from the samples, so any
dataset with instances can be evaluated, together with PQ and mIoU in one pass.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric

from vislab.errors import ConfigError, DataError, check_choice
from vislab.evaluation.average_precision import THRESHOLDS, match_best_free
from vislab.evaluation.checks import error_context, require_field, require_results, to_array, warn, warn_unlabeled
from vislab.evaluation.details import MIN_SCORE, Details, class_table, detection_f1, image_score, worst_images
from vislab.evaluation.frame import require_original_frame
from vislab.registry import METRICS

_NAMES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO AP in percent: bbox_mAP, bbox_mAP_50, ... and segm_mAP, segm_mAP_50, ..., depending on `iou_types`.

    With `recall`, also COCO's average recall: bbox_mAR_1, bbox_mAR_10 and bbox_mAR_<max_detections> by the number of
    detections per image, and bbox_mAR_s, bbox_mAR_m and bbox_mAR_l by size.

    Reads pred_instances (labels, scores, bboxes, masks) and gt_instances (labels, bboxes, masks, ignore, areas) at the
    original size; masks are (N, H, W) or COCO RLE. Ignored instances are treated as crowds. Sizes (small, medium,
    large) without ground truth are omitted.

    As in pycocotools, the size of a ground-truth instance is the `area` in the annotation file, for boxes and masks, or
    else the area of its mask or box. The size of a detection is the area of its box for "bbox" and its mask for "segm".

    Detections with a non-finite score or box, a box with a negative side, or an invalid label are skipped;
    `invalid_detections` is their number if there are any, and a warning names the first.

    Args:
        iou_types: "bbox", "segm" or both.
        max_detections: Maximum number of detections per image.
        recall: Add average recall.
        classwise: Add bbox_AP/<class> and segm_AP/<class> for each class with ground truth.
        backend: "auto", "faster" or "pycocotools".
        collect_device: See mmengine's BaseMetric.
        prefix: Prefix of the names of the metrics.

    Attributes:
        details: AP by class, and the images with the lowest F1 score of the boxes.

    Raises:
        DataError: Predictions or labels lack boxes or masks, or a ground-truth label is not a class of the dataset.
    """

    default_prefix = None

    def __init__(
        self,
        *,
        iou_types: Sequence[Literal["bbox", "segm"]] = ("bbox",),
        max_detections: int = 100,
        recall: bool = False,
        classwise: bool = False,
        backend: Literal["auto", "faster", "pycocotools"] = "auto",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_types = (iou_types,) if isinstance(iou_types, str) else tuple(iou_types)
        if not self.iou_types or set(self.iou_types) - {"bbox", "segm"}:
            raise ConfigError(f"CocoMetric: iou_types={self.iou_types}; expected bbox and segm")
        check_choice("CocoMetric: backend", backend, ("auto", "faster", "pycocotools"))
        self.max_detections, self.recall = max_detections, recall
        self.classwise = classwise
        self.backend = backend
        self.details: Details | None = None

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        names = _NAMES + (_recall_names(self.max_detections) if self.recall else ())
        names = [f"{kind}_{name}" for kind in self.iou_types for name in names] + ["invalid_detections"]
        return names + [f"{kind}_AP/*" for kind in self.iou_types if self.classwise]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        classes = (self.dataset_meta or {}).get("classes")
        for sample in data_samples:
            with error_context("CocoMetric", sample):
                result = image_result(sample, self.iou_types, None if classes is None else len(classes))
                self.results.append(result | {"image": image_score(sample, _f1(result), len(self.results))})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        require_results(results, "CocoMetric")
        invalid = [(result["name"], result["invalid"]) for result in results if result["invalid"]]
        metrics: dict[str, float] = {}
        if invalid:
            metrics["invalid_detections"] = float(sum(count for _, count in invalid))
            total = metrics["invalid_detections"] + sum(len(result["dt"]["labels"]) for result in results)
            warn(
                "CocoMetric",
                f"{metrics['invalid_detections']:.0f} of {total:.0f} detections in {len(invalid)} images are skipped: "
                "their score or box is not finite, a side of the box is negative, or the label is not a class of the "
                f"dataset; the first image is {invalid[0][0]}",
            )
        self._warn_unlabeled(results)
        names = (self.dataset_meta or {}).get("classes")
        columns: dict[str, dict[int, float]] = {}
        for iou_type in self.iou_types:
            values = coco_ap(results, iou_type, self.backend, self.max_detections)
            each, recalls = values.pop("classes"), values.pop("recalls")
            columns[f"{iou_type} AP"] = {k: 100 * value if value >= 0 else np.nan for k, value in each.items()}
            values |= recalls if self.recall else {}
            metrics |= {f"{iou_type}_{key}": 100 * value for key, value in values.items() if value >= 0}
            if self.classwise:
                called = {label: names[label] if names else label for label in each}
                metrics |= {f"{iou_type}_AP/{called[k]}": 100 * value for k, value in each.items() if value >= 0}
        labels = sorted({k for column in columns.values() for k in column})
        self.details = Details(
            metric="CocoMetric",
            classes=class_table(
                [names[k] if names else str(k) for k in labels],
                {key: [column.get(k, np.nan) for k in labels] for key, column in columns.items()},
            ),
            worst=worst_images(result["image"] for result in results),
            score_name="F1 of the boxes at IoU 0.5, in percent",
        )
        return metrics

    def _warn_unlabeled(self, results: list[dict]) -> None:
        labels = np.concatenate([result["gt"]["labels"] for result in results])
        meta = self.dataset_meta or {}
        classes = list(meta.get("classes") or ())
        if not len(labels):
            warn("CocoMetric", f"none of the {len(results)} images has labeled instances: AP is not defined")
        elif classes:
            things = meta.get("thing_classes") or classes
            counts = np.bincount(labels, minlength=len(classes))
            chosen = [i for i, name in enumerate(classes) if name in things]
            warn_unlabeled("CocoMetric", [classes[i] for i in chosen], counts[chosen] > 0, "instance")


def image_result(sample: Mapping[str, Any], iou_types: Sequence[str], num_classes: int | None = None) -> dict[str, Any]:
    """Return the data of one image that `coco_ap` needs.

    Args:
        sample: A DataSample as a dict, with gt_instances, pred_instances and ori_shape.
        iou_types: "bbox", "segm" or both.
        num_classes: Labels must be below this number, if set.

    Returns:
        Name; size (h, w); gt and dt, dicts of labels (N,) and, by `iou_types`, bboxes (N, 4) xywh and masks (RLE);
        gt also has crowd (N,) and areas (N,), dt has scores (N,); invalid, the number of detections left out.
    """
    name = sample.get("img_path", "a sample")
    require_field(sample, "gt_instances", "CocoMetric", "put LoadAnnotations into the test pipeline")
    found = require_field(sample, "pred_instances", "CocoMetric", "the model predicts none")
    require_original_frame(sample, "CocoMetric")
    truth = _in_original_frame(sample, name)
    size = tuple(int(side) for side in sample["ori_shape"])
    gt, dt = (_items(instances, size, name, iou_types) for instances in (truth, found))
    gt["areas"] = _truth_areas(truth, gt)
    if not (np.isfinite(gt["areas"]).all() and np.isfinite(gt.get("bboxes", 0)).all()):
        raise DataError(f"CocoMetric: a ground-truth box of {name} is not finite")
    ignore = truth.get("ignore")
    gt["crowd"] = np.zeros(len(gt["labels"]), int) if ignore is None else to_array(ignore).astype(bool).astype(int)
    wrong = _no_class(gt["labels"], num_classes)
    if wrong.any():
        count = "" if num_classes is None else f"; the dataset has {num_classes} classes (0..{num_classes - 1})"
        raise DataError(f"CocoMetric: {name} has a ground-truth instance of class {gt['labels'][wrong][0]}{count}")
    if "scores" not in found:
        raise DataError(f"CocoMetric: pred_instances of {name} have no scores")
    dt["scores"] = to_array(found["scores"]).astype(float)
    _check_lengths(gt, name, "gt_instances")
    _check_lengths(dt, name, "pred_instances")
    valid = np.isfinite(dt["scores"]) & ~_no_class(dt["labels"], num_classes)
    if "bboxes" in dt:
        valid &= np.isfinite(dt["bboxes"]).all(axis=1) & (dt["bboxes"][:, 2:] >= 0).all(axis=1)
    invalid = int((~valid).sum())
    if invalid:
        dt = {
            key: [m for m, v in zip(x, valid, strict=True) if v] if key == "masks" else x[valid]
            for key, x in dt.items()
        }
    return {"name": name, "size": size, "gt": gt, "dt": dt, "invalid": invalid}


def _f1(result: Mapping[str, Any]) -> float:
    """Return the F1 score of the boxes of one image in percent; NaN without boxes."""
    gt, dt = result["gt"], result["dt"]
    if "bboxes" not in gt:
        return float("nan")
    from pycocotools import mask as coco

    order = np.argsort(-dt["scores"], kind="stable")
    order = order[dt["scores"][order] >= MIN_SCORE]  # lower ones take no object from them
    iou = np.zeros((len(order), len(gt["labels"])))
    if iou.size:
        iou = np.asarray(coco.iou(dt["bboxes"][order], gt["bboxes"], gt["crowd"].tolist()))
        iou = np.where(dt["labels"][order][:, None] == gt["labels"], iou, 0.0)
    correct, skipped = match_best_free(iou, gt["crowd"].astype(bool), THRESHOLDS[:1])
    return detection_f1(correct[:, 0], ~skipped[:, 0], dt["scores"][order], int((gt["crowd"] == 0).sum()))


def _in_original_frame(sample: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return gt_instances with boxes and areas in the frame of the original image, undoing a later Resize."""
    truth = sample["gt_instances"]
    vanished = sample.get("num_vanished", 0)
    if vanished:
        raise DataError(
            f"CocoMetric: {vanished} labeled instances of {name} lost all pixels when the image was resized and "
            "would not be counted: put LoadAnnotations after the transforms that resize"
        )
    sx, sy = sample.get("gt_scale_factor", (1.0, 1.0))
    if sx == sy == 1:
        return truth
    moved = dict(truth.items())
    if "bboxes" in moved:
        moved["bboxes"] = to_array(moved["bboxes"]).astype(float) / (sx, sy, sx, sy)
    if "areas" in moved or "masks" in moved:
        moved["areas"] = _truth_areas(truth, {"labels": to_array(truth["labels"])}) / (sx * sy)
    return moved


def _items(instances: Mapping[str, Any], size: tuple[int, int], name: str, iou_types: Sequence[str]) -> dict[str, Any]:
    items: dict[str, Any] = {"labels": to_array(instances["labels"]).astype(int)}
    if "bbox" in iou_types:
        if "bboxes" not in instances:
            raise DataError(f"CocoMetric: {name} has instances without bboxes")
        items["bboxes"] = _xywh(instances["bboxes"])
    if "segm" in iou_types:
        if "masks" not in instances:
            raise DataError(
                f"CocoMetric: {name} has instances without masks: LoadAnnotations(with_mask=True) reads them"
            )
        items["masks"] = encode_masks(instances["masks"], size, name)
    return items


def _xywh(boxes: Any) -> np.ndarray:
    boxes = to_array(boxes).astype(float).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _truth_areas(truth: Mapping[str, Any], items: dict[str, Any]) -> np.ndarray:
    """Return areas (N,) float64 of the ground truth: of the annotation file, else of the masks, else of the boxes."""
    count = len(items["labels"])
    areas = to_array(truth["areas"]).astype(float) if "areas" in truth else np.full(count, np.nan)
    unknown = np.isnan(areas)
    if not unknown.any():
        return areas
    if "masks" in truth:
        masks = items.get("masks", truth["masks"])
        return np.where(unknown, _mask_areas(masks), areas)
    boxes = items.get("bboxes")
    boxes = _xywh(truth["bboxes"]) if boxes is None else boxes
    return np.where(unknown, boxes[:, 2] * boxes[:, 3], areas)


def _mask_areas(masks: Any) -> np.ndarray:
    if not isinstance(masks, list | tuple):
        return (to_array(masks) != 0).sum(axis=(1, 2)).astype(float)
    from pycocotools import mask as coco

    return np.asarray(coco.area(list(masks)), float).reshape(-1)


def _no_class(labels: np.ndarray, num_classes: int | None) -> np.ndarray:
    return (labels < 0) | (labels >= num_classes) if num_classes is not None else labels < 0


def _check_lengths(items: dict[str, Any], name: str, what: str) -> None:
    lengths = {key: len(value) for key, value in items.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"CocoMetric: {what} of {name} differ in length: {lengths}")


def coco_ap(results: Sequence[dict], iou_type: str, backend: str = "auto", max_detections: int = 100) -> dict[str, Any]:
    """Compute AP from the outputs of `image_result`.

    Returns:
        mAP, mAP_50, ... as fractions, -1 without ground truth; `recalls`, a dict of mAR_1 etc.; and `classes`, the AP
        by class index.
    """
    images, annotations, detections = [], [], []
    for image_id, result in enumerate(results, start=1):
        height, width = result["size"]
        images.append({"id": image_id, "height": height, "width": width})
        gt, dt = result["gt"], result["dt"]
        for entry, area, crowd in zip(_entries(gt, image_id, iou_type), gt["areas"], gt["crowd"], strict=True):
            annotations.append(entry | {"id": len(annotations) + 1, "area": float(area), "iscrowd": int(crowd)})
        for entry, score in zip(_entries(dt, image_id, iou_type), dt["scores"], strict=True):
            detections.append(entry | {"score": float(score)})
    if not annotations:
        return {**dict.fromkeys(_NAMES, -1.0), "recalls": {}, "classes": {}}
    coco_class, eval_class = _backend(backend)
    labels = sorted({a["category_id"] for a in annotations} | {d["category_id"] for d in detections})
    content = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": str(i)} for i in labels]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = content
        truth.createIndex()
        if detections:
            found = truth.loadRes(detections)
        else:  # loadRes of pycocotools needs at least one detection
            found = coco_class()
            found.dataset = content | {"annotations": []}
            found.createIndex()
        evaluation = eval_class(truth, found, iou_type)
        evaluation.params.maxDets = [1, min(10, max_detections), max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation)


def _entries(items: dict, image_id: int, iou_type: str) -> list[dict]:
    """Return the annotations of one image, with either boxes or masks.

    `loadRes` computes the area of detections from their bbox if they have one, so masks have no bbox.
    """
    key, values = ("bbox", items["bboxes"].tolist()) if iou_type == "bbox" else ("segmentation", items["masks"])
    return [  # category 0 is reserved in COCO's tools
        {"image_id": image_id, "category_id": label + 1, key: value}
        for label, value in zip(items["labels"].tolist(), values, strict=True)
    ]


def _summary(evaluation: Any) -> dict[str, Any]:
    """Compute the six metrics and the AP of each class from the precisions (IoU, recall, class, area, detections)."""
    precision = np.asarray(evaluation.eval["precision"])
    thresholds = np.asarray(evaluation.params.iouThrs)

    def mean(table: np.ndarray) -> float:
        valid = table[table > -1]
        return float(valid.mean()) if valid.size else -1.0

    at = {t: int(np.argmin(np.abs(thresholds - t))) for t in (0.5, 0.75)}
    every = precision[..., 0, -1]
    values = (mean(every), mean(every[at[0.5]]), mean(every[at[0.75]]))
    sizes = tuple(mean(precision[..., area, -1]) for area in (1, 2, 3))
    classes = {int(c) - 1: mean(every[:, :, k]) for k, c in enumerate(evaluation.params.catIds)}
    recall = np.asarray(evaluation.eval["recall"])  # (IoU, class, area, detections)
    recalls = [mean(recall[:, :, 0, m]) for m in range(3)] + [mean(recall[:, :, area, -1]) for area in (1, 2, 3)]
    recalls = dict(zip(_recall_names(evaluation.params.maxDets[-1]), recalls, strict=True))
    return dict(zip(_NAMES, values + sizes, strict=True)) | {"recalls": recalls, "classes": classes}


def _recall_names(max_detections: int) -> tuple[str, ...]:
    counts = (1, min(10, max_detections), max_detections)
    return tuple(f"mAR_{key}" for key in (*counts, "s", "m", "l"))


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


def encode_masks(masks: Any, size: tuple[int, int], name: str) -> list[dict]:
    """Convert (N, H, W) masks, or a list of RLE, to compressed RLE.

    Raises:
        DataError: The masks have another size than (h, w) `size`, or are floats.
    """
    if isinstance(masks, list | tuple):
        wrong = next((m["size"] for m in masks if tuple(m["size"]) != tuple(size)), None)
        if wrong is not None:
            raise DataError(f"CocoMetric: run lengths of {name} are of size {tuple(wrong)}, the image is {size} (h, w)")
        return [dict(m) for m in masks]
    from pycocotools import mask as coco

    array = to_array(masks)
    if not len(array):
        return []
    if array.shape[1:] != tuple(size):
        raise DataError(f"CocoMetric: masks of {name} are {array.shape[1:]}, the image is {tuple(size)} (h, w)")
    if not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"CocoMetric: masks of {name} are {array.dtype}, expected bool or 0 and 1: apply a threshold")
    binary = array if array.dtype == bool else array != 0
    return coco.encode(np.asfortranarray(binary.view(np.uint8).transpose(1, 2, 0)))
