"""Test distances of rotated boxes: matrix formulas, both forms of a box, gradients, matching costs."""

import math

import pytest
import torch

from tests.helpers.rotated_oracles import random_rboxes
from vislab.errors import ConfigError
from vislab.losses.rotated import bounded, corner_distance, gwd, kld, normalized_gwd
from vislab.structures.rotated_boxes import rboxes_to_corners

DISTANCES = {
    "kld": kld,
    "gwd": gwd,
    "normalized_gwd": normalized_gwd,
    "chamfer": corner_distance,
    "hausdorff": lambda a, b: corner_distance(a, b, reduction="max"),
}


def gaussians(boxes):
    theta = boxes[:, 4]
    turn = torch.stack((theta.cos(), -theta.sin(), theta.sin(), theta.cos()), 1).view(-1, 2, 2)
    return boxes[:, :2], turn @ torch.diag_embed((boxes[:, 2:4] / 2).square()) @ turn.transpose(1, 2)


def trace(x):
    return x.diagonal(dim1=1, dim2=2).sum(1)


def test_matrix_formulas():
    p, t = random_rboxes(200, 0), random_rboxes(200, 1)
    (mp, sp), (mt, st) = gaussians(p), gaussians(t)
    d, inverse = (mt - mp)[:, :, None], torch.linalg.inv(sp)
    expected = (d.transpose(1, 2) @ inverse @ d)[:, 0, 0] + trace(inverse @ st)
    expected = (expected + (torch.linalg.det(sp) / torch.linalg.det(st)).log()) / 2 - 1
    torch.testing.assert_close(kld(p, t), expected)
    root = (trace(sp @ st) + 2 * (torch.linalg.det(sp) * torch.linalg.det(st)).sqrt()).sqrt()
    expected = d.square().sum((1, 2)) + trace(sp) + trace(st) - 2 * root
    torch.testing.assert_close(gwd(p, t), expected)
    scale = 2 * (torch.linalg.det(sp) * torch.linalg.det(st)) ** (1 / 8)
    torch.testing.assert_close(normalized_gwd(p, t), expected.sqrt() / scale)


def test_corners():
    p, t = random_rboxes(50, 2), random_rboxes(50, 3)
    each = torch.cdist(rboxes_to_corners(p), rboxes_to_corners(t))  # (50, 4, 4)
    both = torch.cat((each.amin(1), each.amin(2)), 1)
    torch.testing.assert_close(corner_distance(p, t), both.mean(1))
    torch.testing.assert_close(corner_distance(p, t, reduction="max"), both.amax(1))
    scaled = corner_distance(p, t, scale=torch.tensor([10.0, 20.0]).double())
    each = torch.cdist(*(rboxes_to_corners(x) / torch.tensor([10.0, 20.0]) for x in (p, t)))
    torch.testing.assert_close(scaled, torch.cat((each.amin(1), each.amin(2)), 1).mean(1))
    with pytest.raises(ConfigError, match="reduction='sum' is not one of mean, max"):
        corner_distance(p, t, reduction="sum")


@pytest.mark.parametrize("name", DISTANCES)
def test_other_forms_of_the_same_boxes(name):
    distance, (p, t) = DISTANCES[name], (random_rboxes(100, 4), random_rboxes(100, 5))
    expected = distance(p, t)
    for boxes in (p, t):
        half = torch.tensor([0, 0, 0, 0, math.pi], dtype=torch.float64)
        for other in (boxes + half, boxes - half, boxes[:, [0, 1, 3, 2, 4]] + half / 2):
            pair = (other, t) if boxes is p else (p, other)
            torch.testing.assert_close(distance(*pair), expected, rtol=1e-9, atol=1e-9)
    assert distance(p, p).max() < 4e-4 < distance(p, p + 0.5).min()
    square = torch.tensor([[5.0, 5, 4, 4, 0.2]])  # smooth where le90 jumps, and for squares
    torch.testing.assert_close(
        distance(square, square + torch.tensor([0, 0, 0, 0, math.pi / 2])), distance(square, square)
    )
    edge = torch.tensor([[5.0, 5, 9, 4, math.pi / 2 - 1e-3], [5, 5, 9, 4, -math.pi / 2 + 1e-3]])
    assert distance(edge[:1], edge[1:]) < 0.02


@pytest.mark.parametrize("name", DISTANCES)
def test_costs_of_all_pairs(name):
    distance, (p, t) = DISTANCES[name], (random_rboxes(6, 6), random_rboxes(4, 7))
    matrix = distance(p[:, None], t)
    assert matrix.shape == (6, 4)
    torch.testing.assert_close(matrix[2, 3], distance(p[2], t[3]))
    assert distance(p[:, None], t[:0]).shape == (6, 0)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradients(name):
    distance, (p, t) = DISTANCES[name], (random_rboxes(8, 8), random_rboxes(8, 9))
    assert torch.autograd.gradcheck(distance, (p.requires_grad_(), t), atol=1e-5)
    special = torch.tensor([[5.0, 5, 4, 4, 0.2], [5, 5, 0, 0, 0], [5, 5, 8, 0, 0], [5, 5, 8, 3, 1.5]])
    for other in (special, special + 1, special * 0):
        moving = special.clone().requires_grad_()
        bounded(distance(moving, other)).sum().backward()
        assert moving.grad.isfinite().all()


@pytest.mark.parametrize("name", DISTANCES)
def test_float32_is_sufficient_for_large_images(name):
    """Almost equal boxes far from the origin: differences of squares of their sides would be lost."""
    p = random_rboxes(200, 10, 4000, (20, 900)).float()
    t = p + torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.5, 0.5, 0.5, 0.5, 0.002])
    exact = DISTANCES[name](p.double(), t.double())
    torch.testing.assert_close(DISTANCES[name](p, t).double(), exact, rtol=2e-3, atol=1e-6)


def test_bounded():
    assert bounded(torch.tensor(0.0)) == 0 and bounded(torch.tensor(math.e - 1)) == pytest.approx(0.5)
    assert bounded(torch.tensor(1e30)) < 1
