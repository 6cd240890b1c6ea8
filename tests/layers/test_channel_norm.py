"""LayerNorm over channels: the formula, in both memory layouts."""

import pytest
import torch

from vislab.layers.channel_norm import ChannelNorm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_pixel_is_normalized_over_its_channels(layout):
    norm = ChannelNorm(5, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64).to(memory_format=layout)
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (variance + 1e-3).sqrt() * norm.weight.view(1, 5, 1, 1) + norm.bias.view(1, 5, 1, 1)
    torch.testing.assert_close(norm(x), expected)
