"""Boxes of the pairs of query and class with the highest scores, in the frame of the original image."""

import math

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from vislab.errors import ConfigError
from vislab.models.deformable_detr.heads import Detections
from vislab.ops.choices import best, not_negative
from vislab.registry import TASK_UTILS
from vislab.structures import DataSample
from vislab.structures.boxes import cxcywh_to_xyxy
from vislab.structures.rotated_boxes import normalize, rboxes_to_hboxes, scale


@TASK_UTILS.register_module()
class BoxInference:
    """Stores pred_instances with labels, scores, bboxes, and rbboxes for rotated boxes, best first.

    Non-maximum suppression is not needed: matched one to one, queries learn not to repeat each other.

    Args:
        max_instances: Number of pairs of query and class per image.
        score_threshold: Minimum score.
    """

    def __init__(self, *, max_instances: int = 100, score_threshold: float = 0.0) -> None:
        if max_instances < 1:
            raise ConfigError(f"BoxInference: max_instances={max_instances} must be at least 1")
        self.max_instances, self.score_threshold = max_instances, score_threshold

    def __call__(self, output: Detections, samples: list[DataSample], padded: tuple[int, int]) -> None:
        """Store the predictions of a layer in the samples, whose img_shape defaults to `padded` (height, width)."""
        labels, scores, boxes = self._best(output)
        for i, sample in enumerate(samples):
            instances = InstanceData(labels=labels[i], scores=scores[i])
            instances.update(_in_original(boxes[i], sample, padded))
            sample.pred_instances = instances
            if self.score_threshold > 0:
                sample.pred_instances = instances[scores[i] >= self.score_threshold]

    def best_boxes(self, output: Detections, size: tuple[int, int]) -> dict[str, Tensor]:
        """Return boxes (B, N, 4) xyxy or (B, N, 5) in pixels of images of `size`, scores (B, N) and labels (B, N)."""
        labels, scores, boxes = self._best(output)
        height, width = size
        scale = boxes.new_tensor((width, height) * 2 + (1,) * (boxes.shape[2] - 4))
        boxes = boxes * scale
        boxes = cxcywh_to_xyxy(boxes) if boxes.shape[2] == 4 else _long_side_first(boxes)
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def _best(self, output: Detections) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels (B, N), scores (B, N) and relative boxes (B, N, 4 or 5) of the best queries and classes."""
        scores = output.logits.float().sigmoid().flatten(1)  # (B, Q * classes)
        chosen = best(scores, min(self.max_instances, scores.shape[1]))
        scores = scores.gather(1, chosen)
        classes = output.logits.shape[2]
        labels, queries = chosen % classes, chosen // classes
        references = output.references
        boxes = references.gather(1, queries[..., None].expand(-1, -1, references.shape[2])).float()
        return labels, scores, boxes


def _long_side_first(rboxes: Tensor) -> Tensor:
    """Return `normalize(rboxes)` of angles in [-pi/2, pi/2); which side is longer is a choice, see ops/choices.py."""
    cx, cy, w, h, theta = rboxes.unbind(-1)
    wide = not_negative(w - h)
    turned = torch.where(theta < 0, theta + math.pi / 2, theta - math.pi / 2)
    sides = torch.where(wide, w, h), torch.where(wide, h, w)
    return torch.stack((cx, cy, *sides, torch.where(wide, theta, turned)), dim=-1)


def _in_original(boxes: Tensor, sample: DataSample, padded: tuple[int, int]) -> InstanceData:
    """Return boxes of relative coordinates (N, 4 or 5) in pixels of the original image."""
    height, width = sample.get("img_shape", padded)
    full_height, full_width = sample.get("ori_shape", (height, width))
    if boxes.shape[1] == 4:
        size = torch.tensor((full_width, full_height) * 2, dtype=boxes.dtype).to(boxes.device, non_blocking=True)
        return InstanceData(bboxes=cxcywh_to_xyxy(boxes * size))
    size = torch.tensor((width, height) * 2 + (1,), dtype=boxes.dtype).to(boxes.device, non_blocking=True)
    rboxes = scale(normalize(boxes * size), full_width / width, full_height / height)
    return InstanceData(rbboxes=rboxes, bboxes=rboxes_to_hboxes(rboxes))
