"""Test frozen batch norms: the same values and gradients as torch's, with less memory."""

import copy

import pytest
import torch
from torch import nn

from vislab.models.encoders.frozen_norm import FrozenBatchNorm2d, freeze
from vislab.models.encoders.timm_encoder import TimmEncoder


def pair():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.uniform_(0.5, 2)
    frozen = copy.deepcopy(norm)
    freeze(frozen)
    assert isinstance(frozen, FrozenBatchNorm2d)
    return norm.eval(), frozen.eval()


def test_values_and_gradients_are_those_of_the_norm():
    norm, frozen = pair()
    x = torch.randn(2, 4, 3, 5, requires_grad=True)
    a, b = norm(x), frozen(x)
    torch.testing.assert_close(a, b)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (a, b)]
    torch.testing.assert_close(*grads)
    with torch.no_grad():
        assert torch.equal(norm(x), frozen(x))


def test_the_input_is_not_kept():
    _, frozen = pair()
    x = torch.randn(2, 4, 3, 5, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        frozen(x)
    assert max(kept) <= 4


def test_the_type_of_the_input_stays():
    _, frozen = pair()
    x = torch.randn(2, 4, 3, 5, dtype=torch.bfloat16, requires_grad=True)
    assert frozen(x).dtype == torch.bfloat16


@pytest.mark.parametrize("frozen", [True, False])
def test_encoders_freeze_their_norms(frozen):
    encoder = TimmEncoder(name="resnet10t", frozen_norms=frozen)
    kinds = {type(m) for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)}
    assert kinds == {FrozenBatchNorm2d if frozen else nn.BatchNorm2d}
    assert encoder.state_dict().keys() == TimmEncoder(name="resnet10t").state_dict().keys()
