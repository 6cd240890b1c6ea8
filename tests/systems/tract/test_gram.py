"""Test that the rows of TrAct are bit for bit those of torch's unfold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vislab.systems.tract.gram import input_rows


@pytest.mark.parametrize("size", [(32, 32), (33, 34), (16, 40)])
@pytest.mark.parametrize("patch", [(4, 4), (8, 4), (3, 5), (6, 6)])
@pytest.mark.parametrize("skipped", [0, 1])  # floats before the input in its storage: not all are aligned
def test_patches_are_unfolds_rows(patch, size, skipped):
    layer = nn.Conv2d(3, 8, patch, stride=patch)
    count = 2 * 3 * size[0] * size[1]
    x = torch.randn(count + skipped)[skipped:].view(2, 3, *size)
    expected = F.unfold(x, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    assert torch.equal(input_rows(x, layer)[0], expected)
