"""Axis-aligned boxes as (N, 4) tensors, corners in pixels or center and size; overlaps in float32 or better."""

import torch
from torch import Tensor


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners to center, width, height."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) center, width, height to corners."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy to (...) areas; inside-out boxes have area 0."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union of every pair, (N, M) each."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    return intersection, box_area(a)[:, None] + box_area(b)[None] - intersection


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise IoU of (N, 4) and (M, 4) xyxy boxes, (N, M) in [0, 1].

    torchvision's function gives NaN for two boxes without area and overflows in float16; this one gives 0 and computes
    in float32.
    """
    a, b = _wide(a), _wide(b)
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def generalized_box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Pairwise generalized IoU of (N, 4) and (M, 4) xyxy boxes, (N, M) in [-1, 1]; always finite."""
    a, b = _wide(a), _wide(b)
    intersection, union = _overlap(a, b)
    tiny = torch.finfo(union.dtype).tiny
    low = torch.minimum(a[:, None, :2], b[None, :, :2])
    high = torch.maximum(a[:, None, 2:], b[None, :, 2:])
    hull = (high - low).clamp(min=0).prod(-1)
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype == torch.float64 else boxes.float()
