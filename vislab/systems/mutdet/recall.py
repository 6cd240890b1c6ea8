"""Recall of pseudo boxes where labels exist; labels are used for this number only."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from vislab.datasets.base import BaseDataset
from vislab.ops.rotated_iou import rotated_iou_matrix
from vislab.structures.rotated_boxes import hboxes_to_rboxes


def labeled_boxes(dataset: BaseDataset) -> dict[str, np.ndarray]:
    """Return the rotated boxes (N, 5) of the objects of a dataset that are not ignored, by the path of the image."""
    found = {}
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        boxes = [
            instance["rbbox"] if "rbbox" in instance else hboxes_to_rboxes(np.array(instance["bbox"], np.float64))
            for instance in record.get("instances", ())
            if not instance["ignore"]
        ]
        found[os.path.realpath(record["img_path"])] = np.array(boxes, np.float64).reshape(-1, 5)
    return found


def count_found(rboxes: np.ndarray, truth: np.ndarray, limits: Sequence[int], threshold: float = 0.5) -> np.ndarray:
    """Return how many objects (len(limits),) have an IoU of at least `threshold` with one of the first boxes.

    Args:
        rboxes: Proposals (M, 5), best first.
        truth: Boxes of the objects (N, 5).
        limits: Numbers of proposals.
        threshold: IoU.
    """
    if not len(truth):
        return np.zeros(len(limits), np.int64)
    iou = rotated_iou_matrix(torch.from_numpy(truth).double(), torch.from_numpy(rboxes).double()).numpy()  # (N, M)
    return np.array([np.count_nonzero(iou[:, :limit].max(axis=1, initial=0) >= threshold) for limit in limits])


def recall(
    found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], limits: Sequence[int] = (30, 100, 300)
) -> tuple[dict[int, float], int]:
    """Return the recall at IoU 0.5 by number of proposals per image, and the number of objects.

    Args:
        found: Proposals (M, 5), best first, by image.
        truth: Boxes (N, 5) by image; images without an entry in `found` are left out.
        limits: Numbers of proposals.
    """
    total, hits = 0, np.zeros(len(limits), np.int64)
    for name, boxes in truth.items():
        if name in found:
            hits += count_found(found[name], boxes, limits)
            total += len(boxes)
    return {limit: float(n / max(total, 1)) for limit, n in zip(limits, hits, strict=True)}, total
