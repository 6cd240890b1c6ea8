"""Test the encoder: padding does not reach other tokens."""

import torch

from vislab.models.deformable_detr.encoder import DeformableEncoder
from vislab.models.deformable_detr.neck import Neck


def test_padding_is_not_seen():
    torch.manual_seed(0)
    neck = Neck(in_channels=(8, 8), dim=8, num_levels=2, norm_groups=2)
    encoder = DeformableEncoder(dim=8, num_levels=2, num_layers=2, num_heads=2, ffn_dim=16).eval()
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight)
    levels = neck([torch.rand(1, 8, 8, 8), torch.rand(1, 8, 4, 4)], [(40, 64)], (64, 64))
    first = encoder(levels)
    levels.tokens[~levels.mask] = 7.0
    second = encoder(levels)
    torch.testing.assert_close(first[levels.mask], second[levels.mask])
    assert (first - second).abs().max() > 0.1
