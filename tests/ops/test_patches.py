"""Test patches: order against a convolution, round trip bit by bit, selection of rows."""

import pytest
import torch
from torch.nn import functional as F

from vislab.ops.patches import patchify, take_rows, unpatchify


def test_order_is_that_of_a_convolution():
    images, weight = torch.randn(2, 3, 8, 12).double(), torch.randn(5, 3, 4, 4).double()
    expected = F.conv2d(images, weight, stride=4).flatten(2).transpose(1, 2)  # (B, N, 5)
    torch.testing.assert_close(patchify(images, 4) @ weight.flatten(1).T, expected)


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 1, 4, 4), (3, 4, 6, 2)])
def test_round_trip_is_exact(shape):
    images = torch.randn(shape)
    assert torch.equal(unpatchify(patchify(images, 2), (shape[2] // 2, shape[3] // 2), 2), images)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="9x8 cannot be divided into patches of 4x4"):
        patchify(torch.zeros(1, 3, 9, 8), 4)


def test_each_sample_has_its_own_rows():
    x, ids = torch.randn(3, 6, 4), torch.tensor([[0, 5], [2, 1], [3, 3]])
    expected = torch.stack([x[i][ids[i]] for i in range(3)])
    assert torch.equal(take_rows(x, ids), expected)
