"""Test losses of embeddings: closed forms, a direct formula, no pairs, gradients, two processes."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vislab.errors import ConfigError
from vislab.systems.mutdet import alignment as module
from vislab.systems.mutdet.alignment import ContrastiveAlignment, EmbeddingRegression


def test_closed_forms():
    loss = ContrastiveAlignment()
    unit = torch.eye(16, dtype=torch.float64)[:10]
    assert loss(unit[:1] * 3, unit[:1]).item() == 0  # one pair
    assert loss(unit * 5, unit).item() == pytest.approx(0.8 * math.log(1 + 9 * math.exp(-5)), abs=1e-12)
    assert loss(unit, unit).item() == pytest.approx(0.0470991, abs=1e-7)
    assert loss(torch.ones(10, 16), torch.ones(10, 16)).item() == pytest.approx(1.842068, abs=1e-6)  # collapsed
    assert ContrastiveAlignment(weight=3.0)(unit, unit).item() == pytest.approx(3 * 0.0470991, abs=1e-6)


def test_direct_formula():
    generator = torch.Generator().manual_seed(0)
    z, o = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    a, b = z / z.norm(dim=1, keepdim=True), o / o.norm(dim=1, keepdim=True)
    rows = [math.log(sum(math.exp(float(a[i] @ b[j] - a[i] @ b[i]) / 0.2) for j in range(7))) for i in range(7)]
    columns = [math.log(sum(math.exp(float(a[j] @ b[i] - a[i] @ b[i]) / 0.2) for j in range(7))) for i in range(7)]
    assert ContrastiveAlignment()(z, o).item() == pytest.approx(0.4 * (sum(rows) + sum(columns)) / 7)


@pytest.mark.parametrize("loss", [ContrastiveAlignment(), EmbeddingRegression(), EmbeddingRegression(distance="mse")])
def test_gradients_reach_both_sides_and_no_pairs_are_legal(loss):
    z, o = (torch.randn(4, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(loss, (z, o))
    value = loss(z[:0], o[:0])
    assert value.item() == 0
    grads = torch.autograd.grad(value, (z, o))
    assert all((grad == 0).all() for grad in grads)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(z.bfloat16(), o.bfloat16()).dtype == torch.float32


def test_regression():
    z, o = torch.tensor([[3.0, 4.0], [0, 2]]), torch.tensor([[1.0, 0], [0, 1]])
    assert EmbeddingRegression()(z, o).item() == pytest.approx((0.4 + 0.8) / 2)
    assert EmbeddingRegression(distance="mse")(z, o).item() == pytest.approx((0.16 + 0.64) / 2)


@pytest.mark.parametrize("extra", [3, 0])
def test_pairs_of_two_processes(monkeypatch, extra):
    """The average over the processes, weighted with their pairs, is the loss of all pairs; a process may have none."""
    rank, barrier, shared = threading.local(), threading.Barrier(2, timeout=60), [None, None]

    def all_gather(x):
        shared[rank.value] = x
        barrier.wait()
        parts = [part.clone() for part in shared]
        barrier.wait()
        assert parts[0].shape == parts[1].shape  # as a real group needs
        return parts

    monkeypatch.setattr(module, "all_gather", all_gather)
    monkeypatch.setattr(module, "get_world_size", lambda: 2)
    monkeypatch.setattr(module, "get_rank", lambda: rank.value)
    rows = torch.randn(2, 5 + extra, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def process(number: int) -> float:
        rank.value = number
        own = rows[:, :5] if number == 0 else rows[:, 5:]
        return ContrastiveAlignment(gather=True)(*own).item()

    with ThreadPoolExecutor(2) as pool:
        values = list(pool.map(process, (0, 1)))
    whole = ContrastiveAlignment()(*rows).item()
    assert (5 * values[0] + extra * values[1]) / (5 + extra) == pytest.approx(whole, abs=1e-12)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="temperature=0 must be positive"):
        ContrastiveAlignment(temperature=0)
    with pytest.raises(ConfigError, match="distance='l2' is not one of l1, mse"):
        EmbeddingRegression(distance="l2")
