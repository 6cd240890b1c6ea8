"""Test the lean form of global response normalization: results, gradients and what is stored, compared to timm."""

import copy

import pytest
import timm
import torch
from timm.layers.grn import GlobalResponseNorm

from vislab.models.encoders.response_norm import LeanResponseNorm, use_lean_norms
from vislab.models.encoders.timm_encoder import TimmEncoder


def pair(channels_last: bool):
    torch.manual_seed(0)
    theirs = GlobalResponseNorm(6, channels_last=channels_last)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours = copy.deepcopy(theirs)
    use_lean_norms(torch.nn.Sequential(ours))
    assert type(ours) is LeanResponseNorm and type(theirs) is GlobalResponseNorm
    return theirs, ours


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("channels_last", [True, False])
def test_results_and_gradients_are_those_of_timm(channels_last, dtype):
    x = torch.randn(2, 4, 5, 6, dtype=dtype) if channels_last else torch.randn(2, 6, 4, 5, dtype=dtype)
    found, stored = [], []
    for norm in pair(channels_last):
        norm, leaf, sizes = norm.to(dtype), x.clone().requires_grad_(), {}

        def keep(tensor, sizes=sizes):
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            out = norm(leaf)
        out.square().sum().backward()
        found.append([out.detach(), leaf.grad, norm.weight.grad, norm.bias.grad])
        stored.append(sum(size >= x.numel() for size in sizes.values()))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < tolerance * a.abs().max()
    assert stored == [2, 1]  # whole maps


def test_the_dtype_under_autocast_is_that_of_timm():
    theirs, ours = pair(True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [norm(torch.randn(1, 2, 3, 6).bfloat16()) for norm in (theirs, ours)]
    assert outputs[0].dtype == outputs[1].dtype


def test_encoders_have_it():
    encoder = TimmEncoder(name="convnextv2_atto")
    assert any(type(m) is LeanResponseNorm for m in encoder.modules())
    theirs = timm.create_model("convnextv2_atto", num_classes=0)
    assert encoder.model.state_dict().keys() <= theirs.state_dict().keys()
