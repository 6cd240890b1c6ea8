"""Test rotated IoU: known cases, wrong values of other kernels, invariances, gradients; peers: shapely, 50 digits."""

import math

import numpy as np
import pytest
import torch

from tests.helpers.rotated_oracles import exact_iou, random_rboxes, shapely_iou
from vislab.errors import ConfigError
from vislab.ops import rotated_iou as module
from vislab.ops.rotated_iou import overlapping_hulls, rotated_iou, rotated_iou_matrix
from vislab.structures.rotated_boxes import rboxes_to_hboxes


def box(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def slid(boxes: torch.Tensor, along: float, across: float) -> torch.Tensor:
    """Boxes moved by parts of their own sides."""
    cx, cy, w, h, theta = boxes.unbind(-1)
    cos, sin = theta.cos(), theta.sin()
    dx, dy = along * w, across * h
    return torch.stack((cx + dx * cos - dy * sin, cy + dx * sin + dy * cos, w, h, theta), -1)


# ------------------------------------------------------------------------------------------------------ known values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_boxes_for_which_other_kernels_are_wrong(dtype):
    same = box(0, 0, 180.6422271729, 136.3633728027, 0.9559648633).to(dtype)  # mmcv issue 2621: 0.333
    assert rotated_iou(same, same).item() == pytest.approx(1, abs=1e-12)
    first = box(299.500000, 417.370422, 600.0, 364.259186, math.radians(27.1828)).to(dtype)
    second = box(299.500000, 417.370422, 600.0, 364.259155, math.radians(27.1828)).to(dtype)  # detectron2 2167: 0.5848
    assert rotated_iou(first, second).item() == pytest.approx(1, abs=1e-6)
    thin, wide = box(0, 0, 100, 1e-9, 0.3).to(dtype), box(0, 0, 100, 40, 0.3).to(dtype)  # mmcv issue 2952: -12128368
    assert 0 <= rotated_iou(thin, wide).item() < 1e-10
    assert rotated_iou(box(0, 0, 100, 0, 0.3).to(dtype), wide).item() == 0


def test_hand_worked_overlaps():
    unit = box(0, 0, 2, 2, 0)
    octagon = 8 * (math.sqrt(2) - 1)
    assert rotated_iou(unit, box(0, 0, 2, 2, math.pi / 4)).item() == pytest.approx(octagon / (8 - octagon))
    assert rotated_iou(unit, box(1, 0, 2, 2, 0)).item() == pytest.approx(1 / 3)
    assert rotated_iou(unit, box(0, 0, 4, 4, 1)).item() == pytest.approx(1 / 4)
    assert rotated_iou(unit, box(0, 0, 4, 4, 1), mode="iof").item() == pytest.approx(1)
    assert rotated_iou(box(0, 0, 4, 4, 1), unit, mode="iof").item() == pytest.approx(1 / 4)
    assert rotated_iou(unit, box(2, 0, 2, 2, 0)).item() == 0
    assert rotated_iou(unit, box(2, 2, 2, 2, 0)).item() == 0
    assert rotated_iou(box(0, 0, 0, 0, 0), box(0, 0, 0, 0, 0)).item() == 0


@pytest.mark.parametrize("noise", [0, 1e-15, 1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3])
def test_coinciding_and_almost_coinciding_edges(noise):
    first = random_rboxes(2000, 0)
    generator = torch.Generator().manual_seed(1)
    shift = noise * torch.randn(first.shape, generator=generator, dtype=torch.float64)
    # moving or turning sides by `noise` changes the IoU by a few times that
    for along, across, expected in ((0, 0, 1), (0.5, 0, 1 / 3), (0, 0.3, 0.7 / 1.3), (1, 0, 0), (0, 1, 0), (1, 1, 0)):
        values = rotated_iou(first, slid(first, along, across) + shift)
        assert (values - expected).abs().max() < 30 * noise + 1e-13, (along, across)
    half = first * torch.tensor([1, 1, 0.5, 0.5, 1])
    for along, across in ((0, 0), (0.5, 0), (0, 0.5), (0.5, -0.5)):
        values = rotated_iou(first, slid(half, along, across) + shift)
        assert (values - 0.25).abs().max() < 30 * noise + 1e-13


def test_axis_aligned_boxes_equal_torchvision():
    from torchvision.ops import box_iou

    first, second = (random_rboxes(300, seed).round() * torch.tensor([1, 1, 1, 1, 0]) for seed in (2, 3))
    expected = box_iou(rboxes_to_hboxes(first), rboxes_to_hboxes(second))
    assert (rotated_iou_matrix(first, second) - expected).abs().max() < 1e-14


# ------------------------------------------------------------------------------------- invariances, matrix, gradients


def test_symmetry_and_other_forms_of_the_same_box():
    first, second = random_rboxes(3000, 4), random_rboxes(3000, 5)
    values = rotated_iou(first, second)
    assert (values - rotated_iou(second, first)).abs().max() < 1e-13 and (values > 0.3).sum() > 300
    turned = box(0, 0, 0, 0, math.pi)
    assert (values - rotated_iou(first + turned, second)).abs().max() < 1e-12
    swapped = first[:, [0, 1, 3, 2, 4]] + turned / 2
    assert (values - rotated_iou(swapped, second)).abs().max() < 1e-12
    assert (rotated_iou(first, swapped) - 1).abs().max() < 1e-12
    moved, scaled = torch.tensor([1e6, -1e6, 0, 0, 0]), torch.tensor([1e3, 1e3, 1e3, 1e3, 1])
    assert (values - rotated_iou(first + moved, second + moved)).abs().max() < 1e-9
    assert (values - rotated_iou(first * scaled, second * scaled)).abs().max() < 1e-12


def test_matrix_equals_pairs_whatever_the_chunks(monkeypatch):
    first, second = random_rboxes(70, 6, 100), random_rboxes(50, 7, 100)
    pairs = rotated_iou(first[:, None], second)
    assert 100 < (pairs > 0).sum() < 3000
    monkeypatch.setattr(module, "_PAIRS", 37)
    assert torch.equal(rotated_iou_matrix(first, second), pairs)
    assert torch.equal(rotated_iou(first[:, None], second), pairs)
    assert torch.equal(rotated_iou_matrix(first, second, mode="iof"), rotated_iou(first[:, None], second, mode="iof"))
    i, j = overlapping_hulls(first, second)
    assert len(i) < 3500 and torch.equal(pairs[i, j].count_nonzero(), pairs.count_nonzero())
    low = rotated_iou_matrix(first.float(), second.float())
    assert low.dtype == torch.float32 and (low - pairs).abs().max() < 1e-5


def test_empty_sets_have_gradients_too():
    some, none = random_rboxes(3, 0).requires_grad_(), torch.zeros(0, 5, dtype=torch.float64)
    assert rotated_iou_matrix(some, none).shape == (3, 0) and rotated_iou_matrix(none, some).shape == (0, 3)
    assert rotated_iou(none, none).shape == (0,)
    rotated_iou_matrix(some, none).sum().backward()
    assert some.grad.abs().sum() == 0


def test_gradients():
    first, second = random_rboxes(20, 8, 20), random_rboxes(20, 9, 20)
    first[0, 4] = second[0, 4] = 0  # parallel sides
    first[1], second[1] = box(0, 0, 60, 50, 0)[0], box(1, 2, 20, 10, 0.3)[0]  # containment
    first.requires_grad_(), second.requires_grad_()
    assert torch.autograd.gradcheck(rotated_iou, (first, second), eps=1e-7, atol=1e-6)
    assert torch.autograd.gradcheck(rotated_iou_matrix, (first[:5], second[:4]), eps=1e-7, atol=1e-6)


def test_gradients_are_finite_for_coinciding_edges():
    boxes = random_rboxes(50, 10).requires_grad_()
    for other in (boxes.detach(), slid(boxes.detach(), 0.5, 0), slid(boxes.detach(), 1, 1)):
        (grad,) = torch.autograd.grad(rotated_iou(boxes, other).sum(), boxes)
        assert grad.isfinite().all()


def test_invalid_boxes_have_no_number():
    good, bad = random_rboxes(2, 0), random_rboxes(4, 0)
    bad[1, 2], bad[2, 0], bad[3, 4] = -5, math.nan, math.inf
    for values in (rotated_iou_matrix(bad, good), rotated_iou_matrix(good, bad).T, rotated_iou(bad[:, None], good)):
        assert values[0].isfinite().all() and values[1:].isnan().all()
    with pytest.raises(ConfigError, match="mode='giou' is not one of iou, iof"):
        rotated_iou(good, good, mode="giou")
    with pytest.raises(ValueError, match=r"given \(2, 4\)"):
        rotated_iou(good[:, :4], good)


# -------------------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("kind", ["random", "near", "thin", "edge"])
def test_fifty_digits(kind):
    first = random_rboxes(25, 11)
    if kind == "thin":
        first[:, 3] = 1e-6
    second = {
        "random": random_rboxes(25, 12),
        "near": first + 1e-9 * torch.randn(25, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        "thin": first + torch.tensor([1e-7, 1e-7, 1e-7, 0, 1e-9]),
        "edge": slid(first, 0.5, 0),
    }[kind]
    expected = [exact_iou(a, b) for a, b in zip(first, second, strict=True)]
    assert np.abs(rotated_iou(first, second).numpy() - expected).max() < 1e-9
    assert max(expected) > 0.1


@pytest.mark.peer
def test_shapely_on_100000_pairs():
    count = 10_000
    first = random_rboxes(count, 20)
    noise = torch.randn(count, 5, generator=torch.Generator().manual_seed(21), dtype=torch.float64)
    thin, far = first * torch.tensor([1, 1, 1, 0, 1]), torch.tensor([1e6, 1e6, 0, 0, 0])
    thin[:, 3] = 1e-6
    pairs = [
        (first, random_rboxes(count, 22)),
        (random_rboxes(count, 23, 1000, (10, 800)), random_rboxes(count, 24, 1000, (10, 800))),
        (first, first + 1e-9 * noise),
        (first, first + 1e-3 * noise),
        (first, slid(first, 0.5, 0)),
        (first, slid(first, 1, 0)),
        (first, first * torch.tensor([1, 1, 0.3, 0.6, 1])),
        (thin, random_rboxes(count, 25)),
        (thin, random_rboxes(count, 26) * torch.tensor([1, 1, 1, 0, 1]) + 1e-6),
        (first + far, random_rboxes(count, 27) + far),
    ]
    for number, (a, b) in enumerate(pairs):
        values, expected = rotated_iou(a, b).numpy(), shapely_iou(a, b)
        apart = np.flatnonzero(np.abs(values - expected) > 1e-9)
        assert len(apart) < 5, number
        for i in apart:  # shapely 2.1 loses a few intersections of boxes with coinciding edges
            assert abs(values[i] - exact_iou(a[i], b[i])) <= 1e-9, (number, i)
            expected[i] = values[i]
        if number not in (8, 9):  # in float32, the thin boxes and the far centers are others
            assert np.abs(rotated_iou(a.float(), b.float()).numpy() - expected).max() <= 1e-4, number


@pytest.mark.peer
def test_torchvision_agrees_roughly():
    from torchvision.ops import box_iou

    first, second = random_rboxes(300, 28), random_rboxes(300, 29)
    degrees = [torch.cat([x[:, :4], -x[:, 4:] * 180 / math.pi], 1) for x in (first, second)]
    assert (rotated_iou_matrix(first, second) - box_iou(*degrees, fmt="cxcywhr")).abs().max() < 1e-4  # it is 5e-6
