"""Test softmax over a short axis: values and gradients equal to torch's."""

import pytest
import torch
from torch import nn

from vislab.layers.attention import MultiheadAttention


@pytest.mark.parametrize("masked", [False, True])
def test_equals_torch(masked):
    torch.manual_seed(0)
    ours, theirs = MultiheadAttention(dim=12, num_heads=3), nn.MultiheadAttention(12, 3, batch_first=True)
    nn.init.normal_(ours.in_proj_bias), nn.init.normal_(ours.out_proj.bias)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    mask = None
    if masked:
        mask = torch.rand(2, 1, 5, 7) < 0.5
        mask[..., 0] = True  # no row is without a key
    whole = None if mask is None else ~mask.expand(2, 3, 5, 7).reshape(6, 5, 7)  # torch's mask says where not to look
    expected, _ = theirs(query, key, value, attn_mask=whole, need_weights=False)
    torch.testing.assert_close(ours(query, key, value, mask), expected, rtol=1e-5, atol=1e-5)


def test_heads_divide_the_channels():
    with pytest.raises(ValueError, match="dim=10 is not divisible by num_heads=3"):
        MultiheadAttention(dim=10, num_heads=3)
