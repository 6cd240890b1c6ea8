"""Deformable attention of the pixel decoder under autocast."""

import pytest
import torch

from vislab.models.mask2former import pixel_decoder


@pytest.mark.parametrize("recomputed", [False, True])
def test_sampling_locations_are_float32_under_autocast(monkeypatch, recomputed):
    """bfloat16 offsets move points by up to a sixteenth of a pixel and more; tokens here are float32 in both runs."""
    torch.manual_seed(0)
    attention = pixel_decoder.MSDeformAttention(dim=32, num_heads=4)
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=1.0)
    shapes = ((3, 4), (6, 8), (12, 16))
    count = sum(h * w for h, w in shapes)
    tokens, position = torch.randn(2, count, 32), torch.randn(count, 32)
    centers = pixel_decoder.pixel_centers(shapes)
    seen = []

    def core(value, shapes, locations, weights):
        seen.append(locations.detach())
        return original(value, shapes, locations, weights)

    original = pixel_decoder.ms_deform_attn
    monkeypatch.setattr(pixel_decoder, "ms_deform_attn", core)
    with torch.set_grad_enabled(recomputed):
        attention(tokens, position, centers, shapes)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attention(tokens, position, centers, shapes)
    assert seen[1].dtype == torch.float32 and torch.equal(seen[0], seen[1])
