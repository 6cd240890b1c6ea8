"""FPN and linear decoders: any size, and the linear one is what its name says."""

import pytest
import torch
from torch import nn

from tests.helpers.dense import ATTO
from vislab.errors import ConfigError
from vislab.models.fpn import FPNNetwork


@torch.no_grad()
@pytest.mark.parametrize("kind", ["fpn", "linear"])
def test_fpn_takes_any_size(kind):
    network = FPNNetwork(encoder=ATTO, out_channels=2, kind=kind, width=8).eval()
    assert network(torch.rand(1, 3, 75, 101)).shape == (1, 2, 75, 101)
    vit = {"name": "vit_tiny_patch16_224", "model_args": {"depth": 4, "embed_dim": 48, "num_heads": 2}}
    assert FPNNetwork(encoder=vit, kind=kind, width=8).eval()(torch.rand(1, 3, 40, 50)).shape == (1, 1, 40, 50)
    with pytest.raises(ConfigError, match="kind='deep'"):
        FPNNetwork(encoder=ATTO, kind="deep")


@torch.no_grad()
def test_the_linear_decoder_is_a_sum_over_stages():
    """Each stage through its own 1x1 convolution, brought to the finest size, added, brought to the image's size."""
    torch.manual_seed(0)
    network = FPNNetwork(encoder=ATTO, out_channels=2, kind="linear").eval()
    images = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (network.encoder.mean, network.encoder.std))
    stages = [layer(m) for layer, m in zip(network.lateral, network.encoder((images - mean) / std), strict=True)]
    assert [tuple(s.shape[2:]) for s in stages] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    resize = lambda x, size: nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    expected = resize(stages[0] + sum(resize(s, (16, 24)) for s in stages[1:]), (64, 96))
    torch.testing.assert_close(network(images), expected)


def test_every_stage_reaches_the_output_of_the_pyramid():
    network = FPNNetwork(encoder=ATTO, width=8)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in network.lateral)


def test_images_are_normalized_once():
    with pytest.raises(ConfigError, match="normalize=True"):
        FPNNetwork(encoder={**ATTO, "normalize": True})
