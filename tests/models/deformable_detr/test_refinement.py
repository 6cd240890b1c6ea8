"""Test updates of boxes in logit space, and the exchange of sides of steep boxes."""

import math

import pytest
import torch

from vislab.models.deformable_detr.refinement import inverse_sigmoid, refine, upright
from vislab.structures.rotated_boxes import rboxes_to_corners


def test_inverse_sigmoid_and_its_limit():
    x = torch.tensor([0.0, 0.2, 0.9, 1.0])
    torch.testing.assert_close(inverse_sigmoid(x)[1:3].sigmoid(), x[1:3])
    assert inverse_sigmoid(x, 1e-3)[-1] == pytest.approx(6.9, abs=0.01)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_zero_delta_keeps_the_reference(size):
    reference = torch.tensor([[[0.3, 0.6, 0.2, 0.4, -1.0]]])[..., :size]
    found = refine(torch.zeros(1, 1, 4), reference)
    torch.testing.assert_close(found[..., : min(size, 4)], reference[..., :4])
    if size == 2:
        assert found[0, 0, 2:].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("shape", [(8, 8), (8, 16), (20, 8)])
@pytest.mark.parametrize("degrees", [-90, -60, -45, 10, 50, 89])
def test_upright_boxes_cover_the_same_pixels(shape, degrees):
    h, w = shape
    box = torch.tensor([0.5, 0.5, 0.3, 0.1, math.radians(degrees)], dtype=torch.float64)
    found = upright(box, [shape, (h // 2, w // 2)])
    assert found[4].abs() <= math.pi / 4 + 1e-9
    pixels = torch.tensor((w, h, w, h, 1), dtype=torch.float64)
    corners = [rboxes_to_corners(x * pixels) for x in (box, found)]
    distances = torch.cdist(*corners)
    assert distances.min(0).values.max() < 1e-9
