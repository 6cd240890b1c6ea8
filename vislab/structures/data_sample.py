"""DataSample: the labels and predictions of one image, for all tasks."""

from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData

MAP_FILL = {"gt_sem_seg": 255, "gt_panoptic": 0, "gt_depth": 0}
"""Maps of the size of the image, with their "unknown" value."""

_FIELD_TYPES = {
    f"{side}_{name}": kind
    for side in ("gt", "pred")
    for name, kind in {
        "instances": InstanceData,
        "sem_seg": PixelData,
        "panoptic": PixelData,
        "depth": PixelData,
        "label": LabelData,
    }.items()
} | dict.fromkeys(("pred_image", "patch_mask", "predict_mask", "target_img"), torch.Tensor)


class DataSample(BaseDataElement):
    """Labels (gt_*) and predictions (pred_*) of one image. Other fields can be set freely.

    - gt_instances, pred_instances: InstanceData with labels (N,) int64, bboxes (N, 4) xyxy pixels, rbboxes (N, 5)
      (cx, cy, w, h, theta) in radians, le90, clockwise, masks (N, H, W), scores (N,) in [0, 1], ignore (N,) bool, ids
      (N,) with the index of each instance in its dataset record, areas (N,) float64 NumPy array with the areas in the
      annotation file in square pixels, NaN where the file has none, embeddings (N, C).
    - gt_sem_seg, pred_sem_seg: PixelData, data (1, H, W) of class indices, 255 = ignore.
    - gt_panoptic, pred_panoptic: PixelData, data (1, H, W) of segment ids, 0 = void; segments_info, a list of dict(id,
      category, iscrowd, area), is metainfo of the PixelData.
    - gt_depth, pred_depth: PixelData, data (1, H, W) float32, in meters, 0 = unknown.
    - gt_label, pred_label: LabelData, label (1,) int64 and score (C,).
    - pred_image: (3, H, W) float tensor in [0, 1].
    - patch_mask: (h, w) bool tensor over the grid of patches, True = masked; predict_mask: likewise, the masked patches
      whose prediction counts; target_img: (3, H', W') uint8 tensor, a second view of the image for target networks.

    Metainfo: img_path, ori_shape and img_shape (h, w), scale_factor (sx, sy), flip; gt_scale_factor (sx, sy), the scale
    of gt_instances relative to the annotation; moved, the names of the transforms that changed the coordinate frame of
    the image other than by scaling (crop, flip, pad); num_vanished, the number of instances that lost all pixels when
    resized. Setting a known field to a value of another type raises TypeError.
    """

    gt_instances: InstanceData
    pred_instances: InstanceData
    gt_sem_seg: PixelData
    pred_sem_seg: PixelData
    gt_panoptic: PixelData
    pred_panoptic: PixelData
    gt_depth: PixelData
    pred_depth: PixelData
    gt_label: LabelData
    pred_label: LabelData
    pred_image: torch.Tensor
    patch_mask: torch.Tensor
    predict_mask: torch.Tensor
    target_img: torch.Tensor

    def set_field(self, value: Any, name: str, dtype: type | None = None, field_type: str = "data") -> None:
        """Set a field after checking its type; called by every assignment."""
        expected = _FIELD_TYPES.get(name)
        # DataSample.numpy() turns tensors into arrays, so arrays are accepted for tensors
        if (
            expected is not None
            and not isinstance(value, expected)
            and not (expected is torch.Tensor and _is_array(value))
        ):
            raise TypeError(f"DataSample.{name} is a {type(value).__name__}, expected {expected.__name__}")
        super().set_field(value, name, dtype, field_type)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape")
