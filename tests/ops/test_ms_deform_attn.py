"""Test deformable attention: both implementations against loops, gradients, points outside, reduced precision."""

import math

import pytest
import torch

from vislab.ops.ms_deform_attn import ms_deform_attn, sample_levels

SHAPES = ((3, 4), (6, 5))


def make(dtype=torch.float64, batch=2, queries=5, heads=2, dim=3, points=2, spread=1.5):
    torch.manual_seed(0)
    size = sum(h * w for h, w in SHAPES)
    value = torch.randn(batch, size, heads, dim, dtype=dtype)
    locations = (torch.rand(batch, queries, heads, len(SHAPES), points, 2, dtype=dtype) - 0.5) * spread + 0.5
    weights = torch.rand(batch, queries, heads, len(SHAPES), points, dtype=dtype)
    return value, locations, weights


def loop(value, shapes, locations, weights):
    """The definition, one point at a time."""
    b, _, m, d = value.shape
    n, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
    out = torch.zeros(b, n, m, d, dtype=value.dtype)
    for i in range(b):
        for q in range(n):
            for head in range(m):
                start = 0
                for level in range(levels):
                    h, w = shapes[level]
                    grid = value[i, start : start + h * w, head].view(h, w, d)
                    start += h * w
                    for p in range(points):
                        x, y = (locations[i, q, head, level, p] * torch.tensor([w, h])).sub(0.5).tolist()
                        for row in (math.floor(y), math.floor(y) + 1):
                            for column in (math.floor(x), math.floor(x) + 1):
                                if 0 <= row < h and 0 <= column < w:
                                    part = (1 - abs(y - row)) * (1 - abs(x - column))
                                    out[i, q, head] += weights[i, q, head, level, p] * part * grid[row, column]
    return out.view(b, n, m * d)


@pytest.mark.parametrize("form", [ms_deform_attn, sample_levels])
@pytest.mark.parametrize("spread", [0.9, 3.0])
def test_equals_a_loop_over_points(form, spread):
    value, locations, weights = make(spread=spread)
    difference = form(value, SHAPES, locations, weights) - loop(value, SHAPES, locations, weights)
    assert difference.abs().max() < 1e-12


def test_gradients():
    value, locations, weights = (t.requires_grad_() for t in make(batch=1, queries=3, spread=1.6))
    assert torch.autograd.gradcheck(lambda v, x, w: ms_deform_attn(v, SHAPES, x, w), (value, locations, weights))


def test_gradients_equal_those_of_the_reference():
    tensors = [t.requires_grad_() for t in make(torch.float32, spread=2.5)]
    grad = torch.randn(2, 5, 6)
    found = []
    for form in (ms_deform_attn, sample_levels):
        value, locations, weights = tensors
        found.append(torch.autograd.grad((form(value, SHAPES, locations, weights) * grad).sum(), tensors))
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


def test_far_points_read_nothing_and_do_not_move():
    value, locations, weights = make()
    far = (locations * 0 + torch.tensor([1e6, -1e6])).requires_grad_()
    out = ms_deform_attn(value, SHAPES, far, weights)
    out.sum().backward()
    assert out.abs().max() == 0 and far.grad.abs().max() == 0


def test_not_a_number_stays_one_and_reads_no_foreign_memory():
    value, locations, weights = make()
    locations[0, 0, 0, 0, 0] = float("nan")
    out = ms_deform_attn(value, SHAPES, locations, weights)
    assert out[0, 0, :3].isnan().all() and out[0, 1:].isfinite().all() and out[1].isfinite().all()


def test_reduced_precision_keeps_locations_exact():
    value, locations, weights = make(torch.float32)
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ms_deform_attn(value.bfloat16(), SHAPES, locations, weights)
    assert out.dtype == torch.float32
    assert (out - expected).abs().max() < 3e-2  # the values were rounded, the places were not


def test_wrong_sizes_are_refused():
    value, locations, weights = make()
    with pytest.raises(ValueError, match="positions"):
        ms_deform_attn(value[:, 1:], SHAPES, locations, weights)
