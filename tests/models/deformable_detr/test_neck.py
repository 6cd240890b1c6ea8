"""Test the conversion of maps to tokens: order, extra levels, positions and ratios of padded images."""

import torch

from vislab.models.deformable_detr.neck import Neck


def build(**changes):
    torch.manual_seed(0)
    return Neck(**({"in_channels": (4, 6), "dim": 8, "num_levels": 4, "norm_groups": 2} | changes))


MAPS = [torch.rand(2, 4, 8, 12), torch.rand(2, 6, 4, 6)]


def test_levels_in_order_of_the_maps():
    neck = build()
    levels = neck(MAPS, [(64, 96)] * 2, (64, 96))
    assert levels.shapes == ((8, 12), (4, 6), (2, 3), (1, 2))
    assert levels.mask is None and levels.ratios is None and levels.position.shape == (128, 8)
    expected = neck.input_proj[1](MAPS[1])
    torch.testing.assert_close(levels.tokens[:, 96:120], expected.flatten(2).transpose(1, 2))
    third = neck.input_proj[2](MAPS[1])
    torch.testing.assert_close(levels.tokens[:, 126:], neck.input_proj[3](third).flatten(2).transpose(1, 2))


def test_positions_and_centers_of_a_padded_image_are_those_of_the_image():
    neck = build()
    alone = neck([x[1:, ..., : x.shape[2] // 2, : x.shape[3] // 2] for x in MAPS], [(32, 48)], (32, 48))
    levels = neck(MAPS, [(64, 96), (32, 48)], (64, 96))
    inside = levels.mask[1].split([h * w for h, w in levels.shapes])
    assert [int(x.sum()) for x in inside[:3]] == [24, 6, 2]
    torch.testing.assert_close(levels.position[1][levels.mask[1]][:32], alone.position[:32])
    torch.testing.assert_close(levels.centers[1][levels.mask[1]][:32], alone.centers[:32])
    torch.testing.assert_close(levels.ratios[1, 0], torch.tensor([0.5, 0.5]))


def test_references_on_padded_maps():
    levels = build()(MAPS, [(64, 96), (32, 48)], (64, 96))
    reference = torch.tensor([0.4, 0.8, 0.2, 0.6, 1.0]).expand(2, 3, 5)
    found = levels.on_maps(reference)
    assert found.shape == (2, 3, 4, 5)
    torch.testing.assert_close(found[0, 0, 0], reference[0, 0])
    torch.testing.assert_close(found[1, 0, 0], torch.tensor([0.2, 0.4, 0.1, 0.3, 1.0]))
    assert levels.on_maps(reference[..., :2]).shape == (2, 3, 4, 2)
