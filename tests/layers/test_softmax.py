"""Softmax over a short axis: the same numbers and gradients as torch's."""

import pytest
import torch

from vislab.layers.softmax import short_softmax


@pytest.mark.parametrize("shape", [(2, 5, 8, 12), (3, 4), (7, 1)])
def test_equals_torch(shape):
    x = (30 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    grad = torch.randn(shape, dtype=torch.float64)
    ours, expected = short_softmax(x), x.softmax(-1)
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, grad)[0] for y in (ours, expected)), rtol=1e-9, atol=1e-12)
