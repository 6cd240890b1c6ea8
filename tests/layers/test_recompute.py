"""Test recomputation: equal gradients, less stored memory, no repeated product, equal random numbers."""

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from vislab.layers.recompute import recompute

torch.manual_seed(0)
NORM, LINEAR = nn.LayerNorm(8), nn.Linear(8, 8)


class Names(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def part(x):
    return LINEAR(NORM(x).relu())


def gradients(function):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return torch.autograd.grad(function(x).square().sum(), (x, NORM.weight, LINEAR.weight))


def test_gradients_are_the_same():
    for a, b in zip(gradients(part), gradients(lambda x: recompute(part, x)), strict=True):
        assert torch.equal(a, b)


def test_only_the_input_is_kept():
    kept = []
    x = torch.randn(4, 8, requires_grad=True)
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        recompute(part, x)
    assert all(t.data_ptr() == x.data_ptr() for t in kept)


def test_the_last_product_is_not_repeated():
    out = recompute(part, torch.randn(4, 8, requires_grad=True)).sum()
    with Names() as names:
        out.backward()
    assert "aten.native_layer_norm.default" in names.seen and "aten.addmm.default" not in names.seen


def test_random_numbers_are_drawn_again():
    x = torch.ones(1000, requires_grad=True)
    out = recompute(lambda x: nn.functional.dropout(x, 0.5).exp(), x, random=True)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad != 0, out != 1)


def test_without_gradients_nothing_is_kept():
    with torch.no_grad():
        assert recompute(part, torch.randn(4, 8, requires_grad=True)).grad_fn is None
