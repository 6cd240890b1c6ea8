"""Quality of the prediction of single images: PQ, mIoU or mask AP, in [0, 1]."""

from typing import Literal

import numpy as np

from vislab.errors import DataError
from vislab.evaluation.coco import coco_ap, image_result
from vislab.evaluation.panoptic import panoptic_quality, panoptic_statistics
from vislab.evaluation.semantic import confusion_matrix
from vislab.structures import DataSample

MEASURES = ("pq", "miou", "ap")


def image_quality(
    sample: DataSample, measure: Literal["pq", "miou", "ap"], num_classes: int
) -> tuple[float, np.ndarray | None]:
    """Compute the quality of a sample, and for "pq" and "miou" its statistics, which can be summed over images.

    Classes that are neither labeled nor predicted are excluded from the mean.

    Returns:
        The quality, and the statistics: (num_classes, 4) as in evaluation.panoptic for pq; (num_classes, 3) pixels of
        intersection, prediction and label for miou; None for ap.

    Raises:
        DataError: The sample lacks the labels or predictions of the measure.
    """
    needed = {"pq": "panoptic", "miou": "sem_seg", "ap": "instances"}
    if measure not in needed:
        raise ValueError(f"measure={measure!r} is not one of {', '.join(MEASURES)}")
    for side in ("gt", "pred"):
        if f"{side}_{needed[measure]}" not in sample:
            raise DataError(
                f"{sample.get('img_path', 'a sample')} has no {side}_{needed[measure]} to measure {measure}"
            )
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
    image = image_result(sample.to_dict(), ("segm",), num_classes)
    return max(coco_ap([image], "segm")["mAP"], 0.0), None


def set_quality(counts: np.ndarray, measure: str) -> float:
    """Return the quality of a dataset from the statistics of its images (N, num_classes, 4 or 3)."""
    total = counts.sum(0)
    return panoptic_quality(total)["pq"] if measure == "pq" else mean_iou(total)


def mean_iou(counts: np.ndarray) -> float:
    """Return the mean IoU of the occurring classes from areas (num_classes, 3) of intersection, prediction, label."""
    shared, predicted, labeled = np.asarray(counts, np.float64).T
    union = predicted + labeled - shared
    return float((shared[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 0.0
