"""Test angle bins and soft angle targets, against torchvision's rotated IoU."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from vislab.models.deformable_detr.angles import (
    angle_targets,
    decode_angles,
    decode_angles_with_gradient,
    elongation_weight,
    encode_angles,
    self_rotation_iou,
)


def test_bins_and_their_centers():
    degrees = torch.tensor([-90.0, -89.5, 0.2, 44.9, 89.7, 90.0, 91.5])
    bins = encode_angles(torch.deg2rad(degrees))
    assert bins.tolist() == [0, 0, 90, 134, 179, 0, 1]  # 90 degrees is -90
    logits = torch.nn.functional.one_hot(bins, 180).float()
    assert torch.rad2deg(decode_angles(logits))[:5].tolist() == pytest.approx([-89.5, -89.5, 0.5, 44.5, 89.5], abs=1e-4)


@pytest.mark.parametrize("sides", [(1.0, 1.0), (3.0, 2.0), (2.0, 3.0), (40.0, 1.0)])
def test_self_rotation_against_torchvision(sides):
    degrees = torch.arange(0, 181, dtype=torch.float64)
    box = torch.tensor([[0.0, 0.0, *sides, 0.0]], dtype=torch.float64)
    turned = box.repeat(181, 1)
    turned[:, 4] = degrees
    expected = box_iou(box, turned, fmt="cxcywhr")[0]
    found = self_rotation_iou(torch.tensor(sides, dtype=torch.float64), degrees)
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=1e-5)


def test_targets_have_their_maximum_at_the_angle():
    theta = torch.tensor([0.0, -math.pi / 2, 0.7])
    target = angle_targets(theta, torch.tensor([[30.0, 10.0]]).expand(3, -1))
    assert torch.equal(target.argmax(-1), encode_angles(theta))
    assert target.amax() == 1 and target.amin() == 0
    torch.testing.assert_close(target[0, 91], target[0, 89])  # symmetric
    square = angle_targets(theta[:1], torch.tensor([[10.0, 10.0]]))[0]
    assert square[90] == square[0] == 1  # 0 and -90 degrees are the same square


def test_long_boxes_have_narrow_targets():
    wide, thin = (angle_targets(torch.zeros(1), torch.tensor([[s, 10.0]]))[0].sum() for s in (15.0, 100.0))
    assert thin < wide / 2


def test_elongation():
    found = elongation_weight(torch.tensor([[2.0, 2.0], [1.0, 3.0], [9.0, 0.0]]))
    assert found.tolist() == pytest.approx([1, 1.5, 2])


def test_mean_angle_gives_the_gradient():
    logits = torch.randn(5, 180, dtype=torch.float64)
    theta = decode_angles_with_gradient(logits)
    torch.testing.assert_close(theta, decode_angles(logits).double())
    peak = torch.zeros(1, 180, dtype=torch.float64)
    peak[0, 179] = 5.0  # 89.5 degrees
    peak.requires_grad_()
    decode_angles_with_gradient(peak).sum().backward()
    assert peak.grad[0, 5] > 0 > peak.grad[0, 170]  # -84.5 is 6 degrees beyond 89.5, 80.5 is 9 degrees before it
    assert abs(peak.grad.sum()) < 1e-12


def test_gradient_of_the_mean_angle_is_finite_without_a_direction():
    logits = torch.zeros(2, 180, requires_grad=True)
    two = torch.zeros(180)
    two[[10, 100]] = 8.0  # both directions of a square
    (decode_angles_with_gradient(logits + two)).sum().backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().max() < 4
