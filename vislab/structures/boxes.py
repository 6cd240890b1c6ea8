"""Conversions and overlaps of axis-aligned boxes, (..., N, 4) tensors in xyxy or cxcywh format."""

import torch
from torch import Tensor


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Convert (..., 4) boxes from corners to center, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert (..., 4) boxes from center, width and height to corners."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((center - half, center + half), dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Return the areas (...) of (..., 4) xyxy boxes; boxes with negative width or height have area 0."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intersection and the union of each pair of boxes, (..., N, M) each."""
    low = torch.maximum(a[..., None, :2], b[..., None, :, :2])  # (..., N, M, 2)
    high = torch.minimum(a[..., None, 2:], b[..., None, :, 2:])
    width, height = (high - low).clamp(min=0).unbind(-1)
    intersection = width * height  # the gradient of prod reads from the device whether a factor is 0
    return intersection, box_area(a)[..., None] + box_area(b)[..., None, :] - intersection


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the pairwise IoU (..., N, M) of (..., N, 4) and (..., M, 4) xyxy boxes.

    Computed in float32 or float64. Unlike torchvision's function, it does not overflow in float16, and returns 0
    instead of NaN for two boxes without area.
    """
    a, b = _wide(a), _wide(b)
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def generalized_box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the pairwise generalized IoU (..., N, M), in [-1, 1] and always finite, of (..., N, 4) and (..., M, 4)
    xyxy boxes."""
    a, b = _wide(a), _wide(b)
    intersection, union = _overlap(a, b)
    tiny = torch.finfo(union.dtype).tiny
    low = torch.minimum(a[..., None, :2], b[..., None, :, :2])
    high = torch.maximum(a[..., None, 2:], b[..., None, :, 2:])
    width, height = (high - low).clamp(min=0).unbind(-1)
    hull = width * height
    return intersection / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype == torch.float64 else boxes.float()
