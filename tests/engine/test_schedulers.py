"""WarmupCosineLR: its values, in epochs and in iterations, and after resuming."""

import math

import pytest
import torch

from vislab.engine.schedulers import WarmupCosineLR


def optimizer(lr=2.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def run(scheduler, steps):
    """Learning rate used at each step."""
    used = []
    for _ in range(steps):
        used.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return used


def expected(step, total, warmup=0.1):
    p = step / total
    return 0.1 + 0.9 * p / warmup if p < warmup else 0.5 * (1 + math.cos(math.pi * (p - warmup) / (1 - warmup)))


def test_warms_up_over_a_tenth_and_ends_at_zero():
    used = run(WarmupCosineLR(optimizer(), end=40, by_epoch=False), 40)
    assert used == pytest.approx([2.0 * expected(t, 40) for t in range(40)])
    assert used[0] == pytest.approx(0.2) and used[4] == max(used) == pytest.approx(2.0)
    assert 0 < used[-1] < 0.005


def test_epochs_are_turned_into_iterations():
    scheduler = WarmupCosineLR.build_iter_from_epoch(optimizer(), begin=0, end=4, epoch_length=10, warmup=0.25)
    assert run(scheduler, 40) == pytest.approx([2.0 * expected(t, 40, 0.25) for t in range(40)])


def test_resuming_goes_on_where_it_stopped():
    whole = run(WarmupCosineLR(optimizer(), end=20, by_epoch=False), 20)
    first = WarmupCosineLR(optimizer(), end=20, by_epoch=False)
    run(first, 7)
    second_optimizer = optimizer()
    second = WarmupCosineLR(second_optimizer, end=20, by_epoch=False)
    second_optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert run(second, 13) == pytest.approx(whole[7:])
