"""Panoptic quality (PQ, SQ, RQ), computed from segment id maps with the rules of COCO's panopticapi.

A prediction and a label match if they have the same class and an IoU above one half, where void pixels are excluded
from the union. Statistics are summed over images and processes; those of each image are also available.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from vislab.errors import ConfigError, DataError
from vislab.evaluation.checks import (
    error_context,
    require_field,
    require_integers,
    require_results,
    to_array,
    warn,
    warn_unlabeled,
)
from vislab.evaluation.details import Details, ImageScore, class_table, image_score, worst_images
from vislab.evaluation.frame import require_original_frame
from vislab.registry import METRICS

VOID_CATEGORY = 255


def panoptic_statistics(
    prediction: np.ndarray,
    predicted_segments: Sequence[dict],
    label: np.ndarray,
    label_segments: Sequence[dict],
    num_classes: int,
    name: str = "an image",
) -> np.ndarray:
    """Compute the statistics of one image.

    Args:
        prediction, label: (H, W) integer segment ids; 0 = void.
        predicted_segments: Dicts with id and category for each id in the map.
        label_segments: Dicts with id, category and iscrowd. Category 255 is treated as void.
        num_classes: Categories are 0..num_classes - 1.
        name: Name of the image in messages.

    Returns:
        (num_classes, 4) float64: sum of IoU over matches, true positives, false positives, false negatives.

    Raises:
        DataError: The sizes differ, the ids of a map and its segments differ, or a category is out of range.
    """
    if prediction.shape != label.shape:
        raise DataError(
            f"{name}: the predicted map is {prediction.shape}, the label {label.shape} (h, w): predict in the "
            "original frame and load labels of the original size"
        )
    predicted, predicted_classes, _ = _index(prediction, predicted_segments, num_classes, f"{name}: the prediction")
    truth, truth_classes, crowd = _index(label, label_segments, num_classes, f"{name}: the label")
    rows, columns = len(truth_classes) + 1, len(predicted_classes) + 1
    shared = np.bincount(truth.ravel() * columns + predicted.ravel(), minlength=rows * columns).reshape(rows, columns)
    predicted_area, truth_area = shared.sum(0)[1:], shared.sum(1)[1:]
    in_void, pairs = shared[0, 1:], shared[1:, 1:]
    if (predicted_area == 0).any():
        missing = [s["id"] for s, area in zip(predicted_segments, predicted_area, strict=True) if area == 0]
        raise DataError(f"{name}: segments {missing[:5]} of the prediction have no pixel in its map")
    union = predicted_area + truth_area[:, None] - pairs - in_void
    same = truth_classes[:, None] == predicted_classes
    matched = same & ~crowd[:, None] & (2 * pairs > union)  # IoU > 1/2 in integers
    iou = np.where(matched, pairs / np.maximum(union, 1), 0.0)

    statistics = np.zeros((num_classes, 4))
    np.add.at(statistics[:, 0], truth_classes[matched.any(1)], iou.sum(1)[matched.any(1)])
    np.add.at(statistics[:, 1], truth_classes[matched.any(1)], 1)
    lost = ~matched.any(1) & ~crowd & (truth_classes != VOID_CATEGORY)
    np.add.at(statistics[:, 3], truth_classes[lost], 1)
    # predictions on crowds are not false positives; of several crowds of a class only the last one counts
    excused = in_void.copy()
    last = {int(truth_classes[i]): i for i in np.flatnonzero(crowd)}
    for category, row in last.items():
        excused += np.where(predicted_classes == category, pairs[row], 0)
    wrong = ~matched.any(0) & (2 * excused <= predicted_area)
    np.add.at(statistics[:, 2], predicted_classes[wrong], 1)
    return statistics


def _index(
    ids: np.ndarray, segments: Sequence[dict], num_classes: int, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the map with 0 = void and 1 + index in `segments`, int64; the categories; and whether they are crowds."""
    require_integers(ids, f"{what}'s map")
    lacking = next((s for s in segments if "id" not in s or "category" not in s), None)
    if lacking is not None:
        raise DataError(f"{what} has a segment without id or category: {lacking}")
    known = np.array([s["id"] for s in segments], np.int64)
    categories = np.array([s["category"] for s in segments], np.int64)
    crowd = np.array([bool(s.get("iscrowd", 0)) for s in segments], bool)
    bad = (categories < 0) | ((categories >= num_classes) & (categories != VOID_CATEGORY))
    if bad.any():
        raise DataError(
            f"{what} contains category {int(categories[bad][0])}; the data has {num_classes} (0..{num_classes - 1}): "
            "num_classes and the data disagree"
        )
    if len(np.unique(known)) < len(known) or (known == 0).any():
        raise DataError(f"{what} lists a segment id twice, or 0, which is void: {sorted(known.tolist())[:8]}")
    order = np.argsort(known)
    table = np.concatenate([[0], known[order]])
    values, inverse = np.unique(np.asarray(ids), return_inverse=True)
    place = np.searchsorted(table, values).clip(max=len(table) - 1)
    if (table[place] != values).any():
        unknown = values[table[place] != values]
        raise DataError(
            f"{what} has segment id {', '.join(map(str, unknown[:5]))} in its map, which is not among its "
            f"{len(segments)} segments"
        )
    new = np.concatenate([[0], order + 1])
    new[np.concatenate([[False], categories[order] == VOID_CATEGORY])] = 0
    return new[place][inverse.reshape(np.shape(ids))], categories, crowd


def panoptic_quality(statistics: np.ndarray, classes: np.ndarray | None = None) -> dict[str, float]:
    """Return pq, sq and rq as fractions, averaged over the classes that occur, and n, the number of these classes.

    Args:
        statistics: (num_classes, 4), of one image or summed over images.
        classes: Mask or indices of the classes to average over. Default: all.
    """
    iou, tp, fp, fn = (statistics if classes is None else statistics[classes]).T
    occurs = tp + fp + fn > 0
    if not occurs.any():
        return {"pq": 0.0, "sq": 0.0, "rq": 0.0, "n": 0}
    iou, tp, fp, fn = iou[occurs], tp[occurs], fp[occurs], fn[occurs]
    weight = tp + 0.5 * fp + 0.5 * fn
    return {
        "pq": float((iou / weight).mean()),
        "sq": float((iou / np.maximum(tp, 1)).mean()),
        "rq": float((tp / weight).mean()),
        "n": int(occurs.sum()),
    }


@METRICS.register_module()
class PanopticMetric(BaseMetric):
    """PQ, SQ and RQ in percent, for all classes, things (_th) and stuff (_st). PQ by class is logged.

    Reads gt_panoptic and pred_panoptic with their segments_info, at the original size.

    Args:
        classwise: Add pq/<class> for each class.
        collect_device: See mmengine's BaseMetric.
        prefix: Prefix of the names of the metrics.

    Attributes:
        per_image: List of (img_path, statistics (num_classes, 4)) of the last evaluation.
        details: PQ, SQ and RQ by class, and the images with the lowest PQ.

    Raises:
        DataError: See `panoptic_statistics`.
        ConfigError: The dataset has no class names.
    """

    default_prefix = None

    def __init__(self, *, classwise: bool = False, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise = classwise
        self.per_image: list[tuple[str, np.ndarray]] = []
        self.details: Details | None = None

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        names = [f"{key}{part}" for part in ("", "_th", "_st") for key in ("pq", "sq", "rq")]
        return names + (["pq/*"] if self.classwise else [])

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            with error_context("PanopticMetric", sample):
                name = sample.get("img_path", "a sample")
                require_original_frame(sample, "PanopticMetric")
                truth = require_field(
                    sample, "gt_panoptic", "PanopticMetric", "put LoadPanoptic into the test pipeline"
                )
                found = require_field(sample, "pred_panoptic", "PanopticMetric", "the model predicts none")
                statistics = panoptic_statistics(
                    _array(found["data"]),
                    found.get("segments_info", ()),
                    _array(truth["data"]),
                    truth.get("segments_info", ()),
                    len(self._classes()),
                    name,
                )
                rows = np.flatnonzero(statistics.any(1))
                quality = panoptic_quality(statistics)
                image = image_score(sample, 100 * quality["pq"] if quality["n"] else float("nan"), len(self.results))
                self.results.append((image, rows, statistics[rows]))  # non-zero rows only

    def compute_metrics(self, results: list) -> dict[str, float]:
        require_results(results, "PanopticMetric")
        classes = self._classes()
        self.per_image = []
        total = np.zeros((len(classes), 4))
        for image, rows, values in results:
            statistics = np.zeros((len(classes), 4))
            statistics[rows] = values
            self.per_image.append((image.image, statistics))
            total += statistics
        labeled = total[:, 1] + total[:, 3] > 0  # true positives and false negatives: segments of the labels
        if labeled.any():
            warn_unlabeled("PanopticMetric", classes, labeled, "segment")
        else:
            warn("PanopticMetric", f"none of the {len(results)} images has labeled segments: PQ is meaningless")
        names = self.dataset_meta.get("thing_classes")
        things = np.array([names is None or c in names for c in classes])
        metrics = {}
        for suffix, chosen in (("", None), ("_th", things), ("_st", ~things)):
            quality = panoptic_quality(total, chosen)
            if suffix and not quality["n"]:
                continue
            metrics |= {f"{key}{suffix}": 100 * quality[key] for key in ("pq", "sq", "rq")}
        each = [panoptic_quality(total[i : i + 1]) for i in range(len(classes))]
        if self.classwise:
            metrics |= {f"pq/{c}": 100 * q["pq"] for c, q in zip(classes, each, strict=True) if q["n"]}
        columns = {key.upper(): [100 * q[key] if q["n"] else np.nan for q in each] for key in ("pq", "sq", "rq")}
        images: list[ImageScore] = [image for image, _, _ in results]
        self.details = Details(
            metric="PanopticMetric",
            classes=class_table(classes, columns),
            worst=worst_images(images),
            score_name="PQ of the image, in percent",
        )
        lines = [f"{c:24.24s} {100 * q['pq']:6.2f}" for c, q in zip(classes, each, strict=True) if q["n"]]
        MMLogger.get_current_instance().info("PQ by class\n" + "\n".join(lines))
        return metrics

    def _classes(self) -> Sequence[str]:
        classes = (self.dataset_meta or {}).get("classes")
        if not classes:
            raise ConfigError("PanopticMetric needs a dataset with class names in its metainfo")
        return classes


def _array(data: Any) -> np.ndarray:
    data = to_array(data)
    return data[0] if data.ndim == 3 else data
