"""Test the costs of exits against published values and torch's counts."""

import pytest
import torch

from tests.helpers.eco_m2f import (
    EXITS,
    build_model,
)
from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.systems.eco_m2f import (
    exit_costs,
    layer_macs,
)

SHAPES = ((2, 3), (4, 6), (8, 12))  # levels of an image of 64x96 pixels


@torch.no_grad()
def test_costs_reach_to_the_masks():
    """Whatever all exits share is counted: the same as running the model without its encoder layers, masks included."""
    from torch.utils.flop_counter import FlopCounterMode

    model = build_model().eval()
    costs = exit_costs(model, 64, 96, EXITS)
    with FlopCounterMode(display=False) as counter:
        maps = model.backbone(torch.zeros(1, 3, 64, 96))
        masks = model.outputs(maps[0], model.pixel_decoder.project(maps))["mask_logits"]
    layers = model.pixel_decoder.layers
    for k in EXITS:
        expected = counter.get_total_flops() / 2 + sum(layer_macs(layer, SHAPES) for layer in layers[:k])
        assert 1e9 * costs[k] == pytest.approx(expected, rel=1e-12)
    assert masks.shape[1:] == (6, 16, 24)


def test_layer_costs_are_the_published_ones():
    layer = DeformableEncoderLayer(dim=256, num_heads=8, num_levels=3, num_points=4, ffn_dim=1024)
    large = [(1024 // stride, 2048 // stride) for stride in (32, 16, 8)]
    assert sum(p.numel() for p in layer.parameters()) == 732_192
    assert layer_macs(layer, large) / 1e9 == pytest.approx(31.467, abs=5e-4)
    assert layer_macs(layer, [(25, 42), (50, 84), (100, 168)]) / 1e9 == pytest.approx(16.133, abs=5e-4)
    tokens = 1024 * 2048 // 32**2 * (1 + 4 + 16)
    sampled = layer_macs(layer, large, sampling=True) - layer_macs(layer, large)
    assert sampled == tokens * 256 * 3 * 4 * 4  # levels, points, corners
    published = (411.981, 443.448, 474.914, 506.381, 537.848)
    for shallow, deep in zip(published, published[1:], strict=False):
        assert deep - shallow == pytest.approx(layer_macs(layer, large) / 1e9, abs=1.1e-3)


def test_an_exit_more_costs_a_layer_more():
    model = build_model()
    costs = exit_costs(model, 64, 96, EXITS)
    step = layer_macs(model.pixel_decoder.layers[0], SHAPES) / 1e9
    assert costs[2] - costs[1] == pytest.approx(step) and costs[3] - costs[2] == pytest.approx(step)
    assert costs[1] > step
