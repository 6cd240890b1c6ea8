"""Test 1x1 convolutions as matrix products."""

import torch

from vislab.layers.convolution import pointwise


def test_same_as_the_convolution():
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(3, 5, 1), torch.randn(2, 3, 4, 6)
    torch.testing.assert_close(pointwise(conv, x), conv(x))
    assert pointwise(conv, x).is_contiguous(memory_format=torch.channels_last)
