"""Test 1x1 convolutions, and convolutions of single patches, as matrix products."""

import torch

from vislab.layers.convolution import PatchConv2d, pointwise
from vislab.ops.patches import patchify


def test_same_as_the_convolution():
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(3, 5, 1), torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(pointwise(conv, x), conv(x))
    assert pointwise(conv, x).is_contiguous(memory_format=torch.channels_last)


def test_patches_are_those_of_a_convolution():
    torch.manual_seed(0)
    layer, image = PatchConv2d(3, 5, 4), torch.randn(2, 3, 8, 12)
    conv = torch.nn.Conv2d(3, 5, 4, 4)
    conv.load_state_dict(layer.state_dict())
    expected = conv(image).flatten(2).mT  # (B, n, 5)
    torch.testing.assert_close(layer(patchify(image, 4)), expected)
