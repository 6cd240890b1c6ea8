"""Average precision of rotated boxes, at IoU 0.5, 0.75 and the mean of 0.5 to 0.95, in the forms of VOC, DOTA and COCO.

Detections and objects are matched image by image as they arrive, so that only scores and matches are kept and gathered
from other processes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from vislab.errors import ConfigError, DataError
from vislab.evaluation.average_precision import (
    FORMS,
    THRESHOLDS,
    average_precision,
    match_best_free,
    match_closest,
)
from vislab.evaluation.checks import error_context, require_field, require_results, to_array, warn, warn_unlabeled
from vislab.evaluation.details import Details, class_table, detection_f1, image_score, worst_images
from vislab.evaluation.frame import require_original_frame
from vislab.ops.rotated_iou import rotated_iou_matrix
from vislab.registry import METRICS
from vislab.structures import rotated_boxes as rb

_RULES = {"11point": match_closest, "all_point": match_closest, "101point": match_best_free}
_COLUMNS = {"AP_50": 0, "AP_75": 5, "AP": slice(None)}


@METRICS.register_module()
class RotatedMAP(BaseMetric):
    """AP of rotated boxes in percent: mAP_50_<form>, mAP_75_<form> and mAP_<form> for each form.

    Reads pred_instances (labels, scores, rbboxes) and gt_instances (labels, rbboxes, ignore) at the original size. The
    mean is over the classes with objects that are not ignored. Ignored ("difficult") objects are neither found nor
    missed: any number of detections on them is not counted. AP by class is logged.

    "11point" and "all_point" use VOC's matching, in which a detection may only take the object it overlaps most;
    "101point" uses COCO's, in which it takes the one it overlaps most among those that are free.

    Detections with a score or box that is not finite, a negative side, or an invalid label are skipped;
    `invalid_detections` is their number if there are any, and a warning names the first.

    Args:
        forms: One or several of "11point", "all_point" and "101point".
        max_detections: Maximum number of detections per image and class, those of the highest scores. COCO's is 100.
            None: no limit.
        classwise: Add AP_50_<form>/<class> for each class with objects.
        collect_device: See mmengine's BaseMetric.
        prefix: Prefix of the names of the metrics.

    Attributes:
        details: AP by class, and the images with the lowest F1 score.

    Raises:
        DataError: Predictions or labels lack boxes, or a ground-truth box or label is invalid.
    """

    default_prefix = None

    def __init__(
        self,
        *,
        forms: Sequence[Literal["11point", "all_point", "101point"]] = ("11point",),
        max_detections: int | None = None,
        classwise: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.forms = (forms,) if isinstance(forms, str) else tuple(forms)
        unknown = [form for form in self.forms if form not in FORMS]
        if unknown or not self.forms:
            raise ConfigError(f"RotatedMAP: forms={self.forms}; expected one or several of {', '.join(FORMS)}")
        if max_detections is not None and max_detections < 1:
            raise ConfigError(f"RotatedMAP: max_detections={max_detections} must be at least 1, or None for no limit")
        self.max_detections = max_detections
        self.details: Details | None = None
        self.classwise = classwise

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        names = [f"m{key}_{form}" for form in self.forms for key in _COLUMNS] + ["invalid_detections"]
        return names + ([f"AP_50_{form}/*" for form in self.forms] if self.classwise else [])

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        classes = (self.dataset_meta or {}).get("classes")
        for sample in data_samples:
            with error_context("RotatedMAP", sample):
                truth, found, invalid = image_boxes(sample, None if classes is None else len(classes))
                result = match_image(truth, found, forms=self.forms, max_detections=self.max_detections)
                image = image_score(sample, _f1(result), len(self.results))
                self.results.append(result | {"invalid": invalid, "name": _name(sample), "image": image})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        require_results(results, "RotatedMAP")
        metrics: dict[str, float] = {}
        invalid = [(result["name"], result["invalid"]) for result in results if result["invalid"]]
        if invalid:
            metrics["invalid_detections"] = float(sum(count for _, count in invalid))
            warn(
                "RotatedMAP",
                f"{metrics['invalid_detections']:.0f} detections in {len(invalid)} images are skipped: their score or "
                "box is not finite, a side is negative, or the label is not a class of the dataset; the first image "
                f"is {invalid[0][0]}",
            )
        objects = np.bincount(np.concatenate([result["objects"] for result in results]))
        names = self._class_names(objects)
        if not len(objects):
            warn("RotatedMAP", f"none of the {len(results)} images has labeled objects: AP is not defined")
            return metrics
        warn_unlabeled("RotatedMAP", names, np.pad(objects, (0, len(names) - len(objects))) > 0, "object")
        tables = {form: rotated_ap(results, objects, form) for form in self.forms}
        for form, table in tables.items():
            valid = table[objects > 0]
            metrics |= {f"m{key}_{form}": 100 * float(valid[:, at].mean()) for key, at in _COLUMNS.items()}
            if self.classwise:
                metrics |= {f"AP_50_{form}/{names[k]}": 100 * float(table[k, 0]) for k in np.flatnonzero(objects)}
        shown = [*names, *map(str, range(len(names), len(objects)))]
        columns = {
            f"{key} {form}": [
                100 * row[at].mean() if count else np.nan for row, count in zip(table, objects, strict=True)
            ]
            for form, table in tables.items()
            for key, at in _COLUMNS.items()
        }
        self.details = Details(
            metric="RotatedMAP",
            classes=class_table(shown[: len(objects)], {"objects": objects, **columns}),
            worst=worst_images(result["image"] for result in results),
            score_name="F1 of the boxes at IoU 0.5, in percent",
        )
        MMLogger.get_current_instance().info(_table_by_class(tables, objects, names))
        return metrics

    def _class_names(self, objects: np.ndarray) -> list[str]:
        names = (self.dataset_meta or {}).get("classes")
        return [str(name) for name in names] if names else [str(i) for i in range(len(objects))]


def match_image(
    truth: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    *,
    forms: Sequence[str],
    max_detections: int | None = None,
) -> dict[str, Any]:
    """Return what `rotated_ap` needs of one image: labels of objects, and labels, scores and matches of detections.

    Args:
        truth, found: Objects and detections, as of `image_boxes`.
        forms: Of `FORMS`, for which the boxes are matched.
        max_detections: Maximum number of detections per class, those of the highest scores. None: no limit.
    """
    order = np.argsort(-found["scores"], kind="stable")
    if max_detections is not None:
        order = order[_place_in_class(found["labels"][order]) < max_detections]
    labels, boxes = found["labels"][order], found["rbboxes"][order]
    iou = rotated_iou_matrix(torch.from_numpy(boxes), torch.from_numpy(truth["rbboxes"])).numpy()  # (D, G)
    iou = np.where(labels[:, None] == truth["labels"], iou, 0.0)
    return {
        "objects": truth["labels"][~truth["ignore"]],
        "labels": labels,
        "scores": found["scores"][order],
        "matches": {rule.__name__: rule(iou, truth["ignore"]) for rule in {_RULES[form] for form in forms}},
    }


def _name(sample: Mapping[str, Any]) -> str:
    return sample.get("img_path", "a sample")


def _f1(result: Mapping[str, Any]) -> float:
    correct, skipped = next(iter(result["matches"].values()))  # (D, thresholds)
    return detection_f1(correct[:, 0], ~skipped[:, 0], result["scores"], len(result["objects"]))


def _place_in_class(labels: np.ndarray) -> np.ndarray:
    """Return how many earlier entries have the same label (D,)."""
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    place = np.empty(len(labels), int)
    place[order] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    return place


def image_boxes(
    sample: Mapping[str, Any], num_classes: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Return labels, rbboxes and ignore of the objects of one image, those with scores of its valid detections, and
    the number of detections that are invalid.

    Args:
        sample: A DataSample as a dict, with gt_instances, pred_instances and ori_shape.
        num_classes: Labels must be below this number, if set.
    """
    name = _name(sample)
    truth = require_field(sample, "gt_instances", "RotatedMAP", "put LoadAnnotations into the test pipeline")
    found = require_field(sample, "pred_instances", "RotatedMAP", "the model predicts none")
    require_original_frame(sample, "RotatedMAP")
    vanished = sample.get("num_vanished", 0)
    if vanished:
        raise DataError(
            f"RotatedMAP: {vanished} labeled objects of {name} were lost when the image was resized and would not be "
            "counted: put LoadAnnotations after the transforms that resize"
        )
    if "scores" not in found:
        raise DataError(f"RotatedMAP: pred_instances of {name} have no scores")
    objects, detections = (_arrays(instances, name) for instances in (truth, found))
    ignore = truth.get("ignore")
    count = len(objects["labels"])
    objects["ignore"] = np.zeros(count, bool) if ignore is None else to_array(ignore).astype(bool)
    detections["scores"] = to_array(found["scores"]).astype(float)
    for arrays, what in ((objects, "gt_instances"), (detections, "pred_instances")):
        if len({len(array) for array in arrays.values()}) > 1:
            lengths = {key: len(array) for key, array in arrays.items()}
            raise DataError(f"RotatedMAP: {what} of {name} differ in length: {lengths}")
    _check_objects(objects, name, num_classes)
    sx, sy = sample.get("gt_scale_factor", (1.0, 1.0))
    if (sx, sy) != (1, 1):
        objects["rbboxes"] = rb.scale(objects["rbboxes"], 1 / sx, 1 / sy)
    boxes, labels = detections["rbboxes"], detections["labels"]
    valid = np.isfinite(detections["scores"]) & np.isfinite(boxes).all(1) & (boxes[:, 2:4] >= 0).all(1)
    valid &= (labels >= 0) & (True if num_classes is None else labels < num_classes)
    return objects, {key: array[valid] for key, array in detections.items()}, int((~valid).sum())


def _arrays(instances: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    if "rbboxes" not in instances:
        raise DataError(
            f"RotatedMAP: {name} has instances without rbboxes: LoadAnnotations(with_rbbox=True) reads those of the "
            "labels"
        )
    boxes = to_array(instances["rbboxes"]).astype(float).reshape(-1, 5)
    angles = np.abs(boxes[np.isfinite(boxes[:, 4]), 4])
    if len(angles) and angles.max() > 2 * math.pi + 1e-3:
        raise DataError(
            f"RotatedMAP: a box of {name} has the angle {angles.max():.1f}; angles are radians within 2 pi, this looks "
            "like degrees"
        )
    return {"labels": to_array(instances["labels"]).astype(int), "rbboxes": boxes}


def _check_objects(objects: dict[str, np.ndarray], name: str, num_classes: int | None) -> None:
    boxes, labels = objects["rbboxes"], objects["labels"]
    wrong = ~np.isfinite(boxes).all(1) | (boxes[:, 2:4] <= 0).any(1)
    if wrong.any():
        raise DataError(
            f"RotatedMAP: a labeled box of {name} is not finite or has no area: {boxes[wrong][0].round(4).tolist()} "
            "(cx, cy, w, h, theta)"
        )
    wrong = (labels < 0) | (False if num_classes is None else labels >= num_classes)
    if wrong.any():
        count = "" if num_classes is None else f"; the dataset has {num_classes} classes (0..{num_classes - 1})"
        raise DataError(f"RotatedMAP: {name} has an object of class {labels[wrong][0]}{count}")


def rotated_ap(results: Sequence[dict], objects: np.ndarray, form: str) -> np.ndarray:
    """Compute AP (classes, 10) at the IoU 0.5, 0.55, ..., 0.95; 0 for classes without objects.

    Args:
        results: Results of `match_image`.
        objects: (classes,) number of objects that are not ignored.
        form: One of `FORMS`.
    """
    rule = _RULES[form].__name__
    labels, scores = (np.concatenate([result[key] for result in results]) for key in ("labels", "scores"))
    correct, skipped = (np.concatenate([result["matches"][rule][i] for result in results]) for i in (0, 1))
    order = np.lexsort((-scores, labels))  # stable: detections of equal score stay in the order of the images
    bounds = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    table = np.zeros((len(objects), len(THRESHOLDS)))
    for k in np.flatnonzero(objects):
        part = order[bounds[k] : bounds[k + 1]]
        table[k] = average_precision(correct[part], ~skipped[part], int(objects[k]), form)
    return table


def _table_by_class(tables: Mapping[str, np.ndarray], objects: np.ndarray, names: Sequence[str]) -> str:
    heads = [f"{key} {form}" for form in tables for key in _COLUMNS]
    lines = [f"{'AP of rotated boxes':24s} {'objects':>8s}  " + "  ".join(f"{head:>14s}" for head in heads)]
    for k in np.flatnonzero(objects):
        values = [100 * table[k][at].mean() for table in tables.values() for at in _COLUMNS.values()]
        lines.append(f"{names[k]:24.24s} {objects[k]:8d}  " + "  ".join(f"{value:14.2f}" for value in values))
    return "\n".join(lines)
