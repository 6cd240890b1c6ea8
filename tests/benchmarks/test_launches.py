"""Test the counter of launches, and backward as a walk over the graph, which it needs on a GPU that is not there."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.pretended_backward import walked_backward
from tests.helpers.pretended_gpu import CUDA, pretended_gpu, to_pretended_gpu
from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.layers.position import pixel_centers
from vislab.systems.tract import apply_tract

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import launches
from _launches import Launches, attention_kernel


def test_launches_copies_and_bytes():
    host = torch.zeros(4, 8)
    with pretended_gpu():
        layer = to_pretended_gpu(nn.Linear(8, 2))
        with Launches() as counter:
            x = host.to(CUDA, non_blocking=True)
            y = layer(x).view(8).relu_()  # a product, a view, and an operation in place
            counter.phase = "end"
            z = torch.zeros(1000, device=CUDA)
            small = torch.empty(10, device=CUDA)[2:]
        assert (counter.copies, dict(counter.launches)) == (1, {"forward": 2, "end": 1})
        assert counter.allocated == counter.held == 4 * (32 + 8 + 1000 + 10)
        (place,) = [place for place, name in counter.places if name == "zeros"]
        assert place.startswith("tests/benchmarks/test_launches.py:test_launches_copies_and_bytes:")
        del z, small
        assert counter.held == 4 * (32 + 8) and counter.most == counter.allocated
        assert y.shape == (8,)


def test_lists_in_one_operation_are_one_launch():
    with pretended_gpu():
        layers = to_pretended_gpu(nn.Sequential(*(nn.Linear(3, 3) for _ in range(5))))
        for parameter in layers.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizers = [torch.optim.AdamW(layers.parameters(), fused=True), torch.optim.SGD(layers.parameters(), 0.1)]
        found = []
        for optimizer in optimizers:
            optimizer.step()
            with Launches() as counter:
                optimizer.step()
                nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
            found.append(counter.launches.total())
    assert max(found) < 12  # of ten parameters


@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_kernel_has_the_result_of_torch(mask, monkeypatch):
    """Its arguments are those of the kernel on a GPU; on the CPU, torch's function stands in."""
    q, k, v = (torch.randn(2, 3, n, 8) for n in (5, 7, 7))
    mask = {None: None, "bool": torch.rand(2, 1, 5, 7) > 0.4, "float": torch.randn(1, 3, 5, 7)}[mask]

    class Kernel:
        _scaled_dot_product_efficient_attention = staticmethod(
            lambda q, k, v, bias, keep, p: [F.scaled_dot_product_attention(q, k, v, bias, p)]
        )

    expected = F.scaled_dot_product_attention(q, k, v, mask)
    monkeypatch.setattr(torch.ops, "aten", Kernel)
    assert torch.allclose(attention_kernel(q, k, v, mask), expected, atol=1e-6)


class Doubled(torch.autograd.Function):
    """Two results, one of them not used, and an argument that is no tensor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor, x + 1

    @staticmethod
    def backward(ctx, first, second):
        return first * ctx.factor + second, None


class Network(nn.Module):
    """Broadcasts, splits, sums, repeated use of parameters, activation checkpointing, and a module with TrAct."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 4, stride=4)
        apply_tract(self.first)
        self.layer = DeformableEncoderLayer(dim=16, num_heads=2, num_levels=1, num_points=2, ffn_dim=32)
        self.scale = nn.Parameter(torch.rand(16))

    def forward(self, x):
        tokens = self.first(x).flatten(2).transpose(1, 2)  # (B, 16, 16)
        tokens = Doubled.apply(tokens, 2.0)[0] * self.scale
        for _ in range(2):
            tokens = self.layer(tokens, self.scale, pixel_centers(((4, 4),)), ((4, 4),))
        a, b = tokens.split(8, dim=2)
        return (F.cross_entropy(a.mean(1), torch.arange(len(x))) + (b * self.scale[:8]).square().mean()).float()


def test_walked_backward_is_that_of_the_engine():
    torch.manual_seed(0)
    network, x = Network(), torch.randn(3, 3, 16, 16)
    found, nodes = [], []
    for walk in (False, True):
        network.zero_grad(set_to_none=True)
        for _ in range(2):  # gradients accumulate
            if walk:
                with walked_backward(nodes.append):
                    network(x).backward()
            else:
                network(x).backward()
        found.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-8) for a, b in zip(*found, strict=True))
    assert {"ConvolutionBackward0", "DoubledBackward", "AccumulateGrad", None} <= set(nodes)


def test_a_step_of_a_config_is_counted():
    name = "hnerv/hnerv_bunny_640x1280_1500k"
    step, more = (launches.count(name, images, small=True) for images in (1, 2))
    row = launches.table_row(name, step, more)
    assert row["waits"] == row["an image more"] == 0 and row["copies"] == 1 and row["optimizer"] == 2
    assert 50 < row["forward"] < row["backward"] < 120
    assert more.kept > 1.9 * step.kept > 0
    assert launches.by_place(step)["GeluBackward0"] == 11
    assert launches.operators(step, "GeluBackward0") == "gelu_backward 11"


@pytest.mark.slow
@pytest.mark.parametrize("name", launches.SYSTEMS)
def test_loops_over_images_do_not_come_back(name):
    step, more = (launches.count(name, images, small=True) for images in (2, 3))
    assert more.launches.total() - step.launches.total() <= BUDGET.get(name, 0)
    assert set(step.waits) <= {("copies from cuda", "vislab/models/matcher.py:fetch")}


BUDGET: dict[str, int] = {}


def test_the_kernel_keeps_no_samples():
    """Samples of all levels: queries x heads x points x channels of a head, in float32."""
    (with_kernel, _), (without, most) = (launches.encoder_layer(256, kernel) for kernel in (True, False))
    queries = 32 * 32 + 16 * 16 + 8 * 8
    samples = queries * 8 * 12 * 32 * 4 / 2**20
    assert without - with_kernel >= samples and most > without
