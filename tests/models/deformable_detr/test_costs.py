"""Test terms of costs and losses: perfect predictions, formulas of others, angles."""

import math

import pytest
import torch
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from tests.helpers.deformable_detr import images, labeled
from vislab.models.deformable_detr.costs import (
    AngleCost,
    AngleLoss,
    BoxGIoULoss,
    BoxL1Loss,
    ClassCost,
    GIoUCost,
    L1Cost,
    Outputs,
    Pairs,
    focal_negative,
    focal_positive,
)
from vislab.models.deformable_detr.targets import collect
from vislab.structures.boxes import cxcywh_to_xyxy


def perfect():
    """Targets of two images with three objects each, and outputs (L = 1) that equal them."""
    targets = collect(labeled(2, objects=(3,)), images(2), num_classes=5, rotated=True, model="a model")
    angle_logits = (targets.angles.clamp(1e-4, 1 - 1e-4)).logit()
    return Outputs(torch.zeros(1, 2, 3, 5), targets.boxes[None].clone(), angle_logits[None]), targets


def test_a_perfect_prediction_costs_nothing():
    outputs, targets = perfect()
    assert L1Cost()(outputs, targets).diagonal(dim1=2, dim2=3).abs().max() == 0
    assert L1Cost(mixed_formats=True)(outputs, targets).diagonal(dim1=2, dim2=3).min() > 0.1  # as published
    torch.testing.assert_close(GIoUCost(weight=1.0)(outputs, targets).diagonal(dim1=2, dim2=3), -torch.ones(1, 2, 3))


@pytest.mark.parametrize("cost", [L1Cost(), GIoUCost(), AngleCost()])
def test_costs_are_least_for_the_own_object(cost):
    value = cost(*perfect())
    assert value.shape == (1, 2, 3, 3)
    best = value.argmin(2) if isinstance(cost, AngleCost) else value.argmin(3)
    assert torch.equal(best, torch.arange(3).expand(1, 2, 3))


def test_angle_cost_is_the_mean_binary_cross_entropy():
    outputs, targets = perfect()
    found = AngleCost(weight=1.0)(outputs, targets)[0, 1, 2, 0]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs.angle_logits[0, 1, 2], targets.angles[1, 0])
    torch.testing.assert_close(found, expected * targets.elongation[1, 0])


def test_focal_terms_against_torchvision():
    x = torch.linspace(-6, 6, 9, dtype=torch.float64)
    for term, target in ((focal_positive, torch.ones_like(x)), (focal_negative, torch.zeros_like(x))):
        torch.testing.assert_close(term(x, 0.25, 2.0), sigmoid_focal_loss(x, target, 0.25, 2.0))


def test_class_cost_reads_the_class_of_the_object():
    outputs, targets = perfect()
    logits = torch.randn(1, 2, 3, 5)
    found = ClassCost(weight=3.0)(Outputs(logits, outputs.boxes, None), targets)
    one = logits[0, 1, 2, targets.labels[1, 0]]
    positive, negative = focal_positive(one, 0.25, 2.0), focal_negative(one, 0.25, 2.0)
    torch.testing.assert_close(found[0, 1, 2, 0], 3 * (positive - negative))


def test_box_losses_of_pairs():
    torch.manual_seed(0)
    a, b = (torch.rand(6, 4) * 0.3 + 0.2 for _ in range(2))
    pairs = Pairs(a, b, torch.full((6, 2), 100.0))
    torch.testing.assert_close(BoxL1Loss(weight=2.0)(pairs), 2 * (a - b).abs().sum(1))
    expected = generalized_box_iou_loss(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b), eps=0)
    torch.testing.assert_close(BoxGIoULoss(weight=1.0)(pairs), expected)


def test_angle_loss_prefers_the_angle_modulo_its_symmetry():
    outputs, targets = perfect()
    args = (targets.boxes[0], targets.boxes[0], targets.sizes[:1].expand(3, -1))
    truth = (targets.theta[0], targets.angles[0], targets.elongation[0])
    right = AngleLoss()(Pairs(*args, outputs.angle_logits[0, 0], *truth))
    wrong = AngleLoss()(Pairs(*args, outputs.angle_logits[0, 0].roll(40, 1), *truth))
    assert (right < wrong).all()


def test_rotated_boxes_in_pixels():
    logits = torch.zeros(1, 180)
    logits[0, 120] = 1
    box = torch.tensor([[0.5, 0.25, 0.1, 0.2]])
    theta = torch.tensor([0.3])
    pairs = Pairs(box, box, torch.tensor([[200.0, 100.0]]), logits, theta, None, None)
    torch.testing.assert_close(pairs.rboxes, torch.tensor([[100.0, 25.0, 20.0, 20.0, math.radians(30.5)]]))
    torch.testing.assert_close(pairs.target_rboxes[0, 4], theta[0])
