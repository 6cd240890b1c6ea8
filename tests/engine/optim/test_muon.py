"""Test Muon against torch.optim.Muon on matrices and torch.optim.AdamW on the rest, split weights, and resuming."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.muon import Muon, as_matrices, as_weight, memory_order
from vislab.engine.optim.orthogonal import orthogonalize
from vislab.engine.resume.run_state import load_optimizer_state
from vislab.errors import ConfigError
from vislab.registry import OPTIMIZERS

SHAPES = [(8, 24), (24, 8), (6, 6)]


def filled(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def descend(optimizer, params, steps=4):
    """Take steps with the same random gradients for every optimizer."""
    generator = torch.Generator().manual_seed(9)
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


def muon(params, **settings):
    return Muon([{"params": params, "method": "muon"}], **settings)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("steps", [4, 5])
def test_equals_torch_muon(nesterov, adjust, steps):
    common = {"lr": 0.03, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov, "adjust_lr_fn": adjust}
    theirs, ours, exact = filled(SHAPES), filled(SHAPES), filled(SHAPES)
    start = [p.detach().clone() for p in theirs]
    descend(torch.optim.Muon(theirs, ns_steps=steps, **common), theirs)
    descend(muon(ours, steps=steps, ns_dtype="bfloat16", **common), ours)
    descend(muon(exact, steps=steps, **common), exact)
    for first, their, our, fine in zip(start, theirs, ours, exact, strict=True):
        way = (their - first).norm()
        assert (our - their).norm() < 1e-6 * way
        assert (fine - their).norm() < 0.05 * way


@pytest.mark.parametrize("fused", [True, None])
def test_the_rest_equals_adamw(fused):
    shapes = [(5,), (3, 4), (2, 2, 3, 3)]
    theirs, ours = filled(shapes), filled(shapes)
    settings = {"weight_decay": 0.2, "betas": (0.8, 0.95), "eps": 1e-6, "fused": fused}
    descend(torch.optim.AdamW(theirs, lr=0.01, **settings), theirs)
    descend(Muon([{"params": ours, "method": "adam"}], lr=9.0, adam_lr=0.01, **settings), ours)
    for one, other in zip(theirs, ours, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("grad_format", [torch.contiguous_format, torch.channels_last])
def test_split_weights_are_orthogonal_per_position(memory_format, grad_format):
    weight = torch.randn(12, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    grad = torch.randn(12, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    p = nn.Parameter(weight.clone().contiguous(memory_format=memory_format))
    p.grad = grad.contiguous(memory_format=grad_format)
    Muon([{"params": [p], "method": "muon", "split": 4}], lr=0.5).step()
    step = (weight - p.detach()) / 0.5
    for position in range(4):  # rows that a pixel shuffle by 2 puts at one position
        rows = grad[position::4].reshape(1, 3, 45)
        expected = orthogonalize([rows])[0][0]
        torch.testing.assert_close(step[position::4].reshape(3, 45), expected, rtol=0, atol=2e-5)
    assert p.is_contiguous(memory_format=memory_format)


def test_matrices_and_back():
    for weight in (
        torch.randn(6, 4),
        torch.randn(6, 4, 3, 5),
        torch.randn(6, 4, 3, 5).to(memory_format=torch.channels_last),
    ):
        order = memory_order(weight)
        assert torch.equal(as_weight(as_matrices(weight, 3, order), weight.shape, order), weight)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.head = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return self.head(self.shuffle(self.conv(x)))


def net_and_optimizer(**settings):
    torch.manual_seed(0)
    net = Net().to(memory_format=torch.channels_last)
    rest = [p for name, p in net.named_parameters() if name != "conv.weight"]
    groups = [
        {"params": [net.conv.weight], "method": "muon", "split": 4},
        {"params": rest, "method": "adam"},
    ]
    return net, Muon(groups, lr=0.02, adam_lr=1e-2, **settings)


def train(net, wrapper, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.rand(2, 3, 8, 8, generator=generator)
        wrapper.update_params((net(x) - nn.functional.interpolate(x, scale_factor=2)).square().mean())


@pytest.mark.parametrize("fused", [True, None])
@pytest.mark.parametrize("kind", [OptimWrapper, AmpOptimWrapper])
def test_resumes_bit_for_bit(fused, kind):
    net, optimizer = net_and_optimizer(fused=fused)
    wrapper = kind(optimizer=optimizer, clip_grad={"max_norm": 0.5}, accumulative_counts=2)
    train(net, wrapper, 6, seed=1)
    saved, weights = copy.deepcopy(wrapper.state_dict()), copy.deepcopy(net.state_dict())
    train(net, wrapper, 6, seed=2)

    other, optimizer = net_and_optimizer(fused=fused)
    other.load_state_dict(weights)
    again = kind(optimizer=optimizer, clip_grad={"max_norm": 0.5}, accumulative_counts=2)
    load_optimizer_state(again, saved)
    train(other, again, 6, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


def test_state_of_the_other_implementation_is_taken():
    net, optimizer = net_and_optimizer(fused=None)
    train(net, OptimWrapper(optimizer=optimizer), 3, seed=1)
    saved = copy.deepcopy(OptimWrapper(optimizer=optimizer).state_dict())
    other, fused = net_and_optimizer(fused=True)
    other.load_state_dict(net.state_dict())
    wrapper = OptimWrapper(optimizer=fused)
    load_optimizer_state(wrapper, saved)
    assert all(group["fused"] for group in fused.param_groups)
    train(net, OptimWrapper(optimizer=optimizer), 3, seed=2)
    train(other, wrapper, 3, seed=2)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_learns_and_skips_what_has_no_gradient():
    net, optimizer = net_and_optimizer()
    before = net.head.weight.detach().clone()
    net.head.weight.requires_grad_(False)
    wrapper = OptimWrapper(optimizer=optimizer)
    x = torch.rand(2, 3, 8, 8)

    def loss():
        return (net(x) - nn.functional.interpolate(x, scale_factor=2)).square().mean()

    first = loss().item()
    for _ in range(60):
        wrapper.update_params(loss())
    assert loss().item() < 0.3 * first and torch.equal(before, net.head.weight)


@pytest.mark.parametrize(
    "groups, settings, message",
    [
        ([nn.Parameter(torch.ones(2, 2))], {}, "set optim_wrapper.constructor to MuonOptimConstructor"),
        ([{"params": [nn.Parameter(torch.ones(2))], "method": "muon"}], {}, "is no matrix"),
        (
            [{"params": [nn.Parameter(torch.ones(6, 2))], "method": "muon", "split": 4}],
            {},
            "does not divide the 6 rows",
        ),
        ([{"params": [nn.Parameter(torch.ones(2, 2))], "method": "lion"}], {}, "which parameters are matrices"),
        (None, {"momentum": 1.0}, "momentum=1.0"),
        (None, {"steps": 0}, "steps=0"),
        (None, {"lr": -1.0}, "lr=-1.0"),
        (None, {"adam_lr": float("nan")}, "adam_lr=nan"),
        (None, {"coefficients": [(1.0, 2.0, 3.0)] * 2}, "three for each of 5 steps"),
        (None, {"adjust_lr_fn": "moonshot"}, "adjust_lr_fn='moonshot' is unknown; choose from original"),
        (None, {"ns_dtype": "float16"}, "ns_dtype='float16'"),
    ],
)
def test_mistakes_are_refused(groups, settings, message):
    groups = groups or [{"params": [nn.Parameter(torch.ones(2, 2))], "method": "muon"}]
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        Muon(groups, **settings)


def test_is_registered_before_torchs():
    assert OPTIMIZERS.get("Muon") is Muon
