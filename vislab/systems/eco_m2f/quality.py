"""Quality of the prediction of single images: PQ, mIoU, or AP of masks, boxes or rotated boxes, in [0, 1]."""

from typing import Literal, get_args

import numpy as np

from vislab.errors import DataError
from vislab.evaluation.coco import coco_ap, image_result
from vislab.evaluation.panoptic import panoptic_quality, panoptic_statistics
from vislab.evaluation.rotated_map import image_boxes, match_image, rotated_ap
from vislab.evaluation.semantic import confusion_matrix
from vislab.structures import DataSample

Measure = Literal["pq", "miou", "ap", "box_ap", "rotated_ap"]
COUNTED = ("pq", "miou")  # measures with statistics that can be summed over images


def image_quality(sample: DataSample, measure: Measure, num_classes: int) -> tuple[float, np.ndarray | None]:
    """Compute the quality of a sample, and for "pq" and "miou" its statistics, which can be summed over images.

    Classes that are neither labeled nor predicted are excluded from the mean. "ap" (masks), "box_ap" and "rotated_ap"
    are means over the IoU thresholds 0.5, 0.55, ..., 0.95, with 101 points; they are 0 for an image without objects.

    Returns:
        The quality, and the statistics: (num_classes, 4) as in evaluation.panoptic for pq; (num_classes, 3) pixels of
        intersection, prediction and label for miou; None for AP.

    Raises:
        DataError: The sample lacks the labels or predictions of the measure.
    """
    if measure not in get_args(Measure):
        raise ValueError(f"measure={measure!r} is not one of {', '.join(get_args(Measure))}")
    needed = {"pq": "panoptic", "miou": "sem_seg"}
    field = needed.get(measure, "instances")
    for side in ("gt", "pred"):
        if f"{side}_{field}" not in sample:
            raise DataError(f"{sample.get('img_path', 'a sample')} has no {side}_{field} to measure {measure}")
    if measure == "pq":
        truth, found = sample.gt_panoptic, sample.pred_panoptic
        counts = panoptic_statistics(
            found.data[0].cpu().numpy(),
            found.segments_info,
            truth.data[0].cpu().numpy(),
            truth.segments_info,
            num_classes,
            sample.get("img_path", "a sample"),
        )
        return panoptic_quality(counts)["pq"], counts
    if measure == "miou":
        maps = sample.pred_sem_seg.data[0].cpu(), sample.gt_sem_seg.data[0].cpu()
        confusion = confusion_matrix(*maps, num_classes).numpy()
        counts = np.stack([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)], axis=1)
        return mean_iou(counts), counts.astype(np.float64)
    if measure == "rotated_ap":
        return _rotated_ap(sample, num_classes), None
    iou_type = "segm" if measure == "ap" else "bbox"
    image = image_result(sample.to_dict(), (iou_type,), num_classes)
    return max(coco_ap([image], iou_type)["mAP"], 0.0), None


def _rotated_ap(sample: DataSample, num_classes: int) -> float:
    """Return the AP of rotated boxes, the mean over the classes of the image."""
    truth, found, _ = image_boxes(sample.to_dict(), num_classes)
    result = match_image(truth, found, forms=("101point",))
    objects = np.bincount(result["objects"], minlength=num_classes)
    table = rotated_ap([result], objects, "101point")[objects > 0]
    return float(table.mean()) if len(table) else 0.0


def set_quality(counts: np.ndarray, measure: str) -> float:
    """Return the quality of a dataset from the statistics of its images (N, num_classes, 4 or 3)."""
    total = counts.sum(0)
    return panoptic_quality(total)["pq"] if measure == "pq" else mean_iou(total)


def mean_iou(counts: np.ndarray) -> float:
    """Return the mean IoU of the occurring classes from areas (num_classes, 3) of intersection, prediction, label."""
    shared, predicted, labeled = np.asarray(counts, np.float64).T
    union = predicted + labeled - shared
    return float((shared[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 0.0
