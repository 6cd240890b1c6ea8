"""Test Re-Shape modules: sizes for each factor, statistics of the initial output, no grid pattern."""

import pytest
import torch
from torch import nn

from vislab.errors import ConfigError
from vislab.systems.timesnet.reshape import GateReShape, MapHead, ReShape, Upscale


@pytest.mark.parametrize("kind", ["shuffle", "transposed", "bilinear"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 14])
def test_maps_grow_by_the_factor(kind, factor):
    made = ReShape(in_channels=12, out_channels=5, factor=factor, kind=kind)
    assert made(torch.rand(2, 12, 3, 4)).shape == (2, 5, 3 * factor, 4 * factor)
    convolutions = [m for m in made if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    if kind == "transposed":  # one for each prime factor, each half as wide, none narrower than the output
        primes = {1: 1, 2: 1, 3: 1, 4: 2, 6: 2, 14: 2}[factor]
        assert len(convolutions) == primes
        assert [m.out_channels for m in convolutions] == ([6, 5] if primes == 2 else [5])
    else:
        assert len(convolutions) == 1


def test_shuffled_pixels_stand_in_their_cell():
    """Channel c * 4 + 2 * row + column of a cell becomes pixel (row, column) of channel c."""
    made = ReShape(in_channels=2, out_channels=3, factor=2)
    x = torch.rand(1, 2, 2, 2)
    flat = made[1](made[0](x))
    out = made(x)
    for c in range(3):
        for row in range(2):
            for column in range(2):
                assert torch.equal(out[0, c, row::2, column::2], flat[0, c * 4 + 2 * row + column])


def test_upscaling_keeps_means_and_straight_lines():
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    out = Upscale(2)(ramp)
    assert out.mean() == ramp.mean()
    torch.testing.assert_close(out[0, 0, 0, 1:-1].diff(), torch.full((5,), 0.5))


@pytest.mark.parametrize("kind", ["shuffle", "transposed", "bilinear"])
@pytest.mark.parametrize(("steps", "stride"), [(2, 32), (1, 32), (2, 14), (2, 7), (1, 4)])
def test_a_gate_starts_at_one_with_a_little_noise(kind, steps, stride):
    torch.manual_seed(0)
    gate = GateReShape(in_channels=64, stride=stride, steps=steps, kind=kind, width=48, noise=0.02)
    out = gate(torch.randn(8, 64, 2, 3))
    assert out.shape == (8, 3, 2 * stride, 3 * stride)
    assert out.mean().item() == pytest.approx(1, abs=0.01)
    assert 0 < out.std().item() < 0.06  # not zero, or the encoder would get no gradient in the first step
    if kind != "transposed":
        assert out.std().item() > 0.005
    with pytest.raises(ConfigError, match="gate_steps=3"):
        GateReShape(in_channels=8, stride=4, steps=3)


def test_two_steps_go_by_four_and_eight():
    gate = GateReShape(in_channels=16, stride=32, width=8)
    assert [m.upscale_factor for m in gate.modules() if isinstance(m, nn.PixelShuffle)] == [4, 8]
    gate = GateReShape(in_channels=16, stride=14, width=8)
    assert [m.upscale_factor for m in gate.modules() if isinstance(m, nn.PixelShuffle)] == [2, 7]


def test_a_head_starts_without_a_grid_pattern():
    """All pixels of a cell have the same first output, for each channel."""
    torch.manual_seed(0)
    for kind in ("shuffle", "bilinear"):
        out = MapHead(in_channels=6, out_channels=2, factor=4, width=16, kind=kind)(torch.rand(1, 6, 3, 5))
        assert out.shape == (1, 2, 12, 20) and out.abs().max() < 0.5
    cells = MapHead(in_channels=6, out_channels=2, factor=4, width=16)(torch.rand(1, 6, 3, 5))
    cells = cells.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # (1, 2, 3, 5, 16)
    assert (cells == cells[..., :1]).all() and not torch.equal(cells[:, 0], cells[:, 1])
    assert cells[..., 0].std() > 1e-4


def test_unknown_kinds():
    with pytest.raises(ConfigError, match="kind='nearest' is not one of shuffle, transposed, bilinear"):
        ReShape(in_channels=2, out_channels=2, factor=2, kind="nearest")
    with pytest.raises(ConfigError, match="head='transposed' is not one of shuffle, bilinear"):
        MapHead(in_channels=2, out_channels=2, factor=2, kind="transposed")
