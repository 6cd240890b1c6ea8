"""Test sine encodings and pixel centers: values, and tensors that are not shared."""

import math

import pytest
import torch

from vislab.layers.position import encode_sine, pixel_centers, sincos_table, sine_divisors, sine_position


def test_sine_position_by_its_formula():
    height, width, dim = 3, 5, 6
    found = sine_position(height, width, dim=dim).view(height, width, 2 * dim)
    for row, column in ((0, 0), (2, 4), (1, 3)):
        for axis, (place, size) in enumerate(((row, height), (column, width))):
            angle = (place + 1) / (size + 1e-6) * 2 * math.pi
            for k in range(dim):
                wave = math.sin if k % 2 == 0 else math.cos
                expected = wave(angle / 10000 ** (2 * (k // 2) / dim))
                assert abs(found[row, column, axis * dim + k].item() - expected) < 1e-6


def test_sine_position_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(sine_position(4, 4), sine_position(4, 4)) and sine_position(4, 4).dtype == torch.float32


def test_pixel_centers_level_after_level():
    expected = [(0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75)]
    torch.testing.assert_close(pixel_centers(((1, 2), (2, 1))), torch.tensor(expected))


def test_a_caller_may_change_what_it_gets():
    for make in (lambda: sine_position(2, 3), lambda: pixel_centers(((2, 3),))):
        expected = make().clone()
        make().zero_()
        assert torch.equal(make(), expected)


@pytest.mark.parametrize(("height", "width"), [(14, 14), (7, 5), (1, 3)])
def test_sincos_table_is_the_closed_form(height, width):
    """Rows first, in raster order; the grid need not be square."""
    table = sincos_table(height, width, dim=16)
    assert table.shape == (height * width, 16) and table.dtype == torch.float32
    for y in range(height):
        for x in range(width):
            angles = [[place * 10000 ** (-k / 4) for k in range(4)] for place in (y, x)]
            expected = [f(angle) for line in angles for f in (math.sin, math.cos) for angle in line]
            torch.testing.assert_close(table[y * width + x], torch.tensor(expected), atol=1e-6, rtol=0)


def test_sincos_table_needs_quarters():
    with pytest.raises(ValueError, match="dim=18 is not divisible by 4"):
        sincos_table(2, 2, dim=18)


def test_positions_of_a_padded_map_are_those_of_the_map_inside():
    found = sine_position(4, 6, dim=4, offset=-0.5, valid=torch.tensor([[4, 6], [2, 3]])).view(2, 4, 6, 8)
    torch.testing.assert_close(found[0], sine_position(4, 6, dim=4, offset=-0.5).view(4, 6, 8))
    torch.testing.assert_close(found[1, :2, :3], sine_position(2, 3, dim=4, offset=-0.5).view(2, 3, 8))


def test_sine_of_any_angles():
    found = encode_sine(torch.tensor([[0.5, math.pi]], dtype=torch.float64), sine_divisors(4, dtype=torch.float64))
    expected = [math.sin(0.5), math.cos(0.5), math.sin(0.005), math.cos(0.005)]
    assert found.shape == (1, 2, 4) and found[0, 0].tolist() == pytest.approx(expected)
