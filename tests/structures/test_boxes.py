"""Test axis-aligned boxes against torchvision, and edge cases."""

import torch
from torchvision import ops

from vislab.structures.boxes import box_iou, cxcywh_to_xyxy, generalized_box_iou, xyxy_to_cxcywh


def _boxes(n: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(n, 2, generator=g) * 50
    return torch.cat([low, low + torch.rand(n, 2, generator=g) * 40 + 0.5], dim=1)


def test_round_trip():
    boxes = _boxes(50, 0)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_pairwise_overlaps_equal_torchvision():
    a, b = _boxes(40, 1), _boxes(30, 2)
    torch.testing.assert_close(box_iou(a, b), ops.box_iou(a, b))
    torch.testing.assert_close(generalized_box_iou(a, b), ops.generalized_box_iou(a, b))


def test_boxes_without_area_and_no_boxes():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert box_iou(point, point).item() == 0.0
    assert torch.isfinite(generalized_box_iou(point, point)).all()
    assert box_iou(torch.zeros(0, 4), point).shape == (0, 1)


def test_half_precision_does_not_overflow():
    big = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]], dtype=torch.float16)
    assert box_iou(big, big).item() == 1.0
