"""The coordinate frame of the original image: predictions must be in it, and labels are brought into it."""

from collections.abc import Mapping
from typing import Any

import torch

from vislab.errors import DataError
from vislab.structures import DataSample
from vislab.structures import rotated_boxes as rb

_REMEDIES = {
    "crop": "remove the crop",
    "flip": "remove the flip (mirrored views belong to DenseInference)",
    "pad": "remove Pad (ImagePreprocessor pads batches)",
}


def require_original_frame(sample: Mapping[str, Any], metric: str) -> None:
    """Raise an error if the image was cropped, flipped or padded in the test pipeline.

    Models map predictions to the original image by scaling only, so they would be compared with labels of other
    positions.

    Raises:
        DataError: The image was changed; the message names the transforms to remove.
    """
    moved = sample.get("moved") or ()
    if moved:
        remedies = ", ".join(_REMEDIES.get(move, f"remove {move}") for move in moved)
        raise DataError(
            f"{metric}: {sample.get('img_path', 'a sample')} went through {', '.join(moved)} in the test pipeline, so "
            f"its predictions are not in the frame of the original image: {remedies}, and resize instead"
        )


def original_labels(sample: DataSample) -> DataSample:
    """Return the sample on the CPU with the boxes of its labels in the original image, undoing a later Resize."""
    sample = sample.cpu()
    sx, sy = sample.get("gt_scale_factor", (1.0, 1.0))
    if (sx, sy) == (1, 1) or "gt_instances" not in sample:
        return sample
    moved, labels = sample.new(), sample.gt_instances.new()
    if "bboxes" in labels:
        labels.bboxes = labels.bboxes / torch.tensor([sx, sy, sx, sy])
    if "rbboxes" in labels:
        labels.rbboxes = rb.scale(labels.rbboxes, 1 / sx, 1 / sy)
    moved.gt_instances = labels
    return moved
