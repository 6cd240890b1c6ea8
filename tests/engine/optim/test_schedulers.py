"""Test WarmupCosineLR and RelativeMultiStepLR by epochs, by iterations, and after resuming."""

import math

import pytest
import torch
from mmengine.optim import LinearLR, MultiStepLR

from vislab.engine.optim.schedulers import RelativeMultiStepLR, WarmupCosineLR
from vislab.errors import ConfigError


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


@pytest.mark.parametrize("end, milestones", [(30, [10, 20]), (9, [3, 6]), (10, [3, 7])])
def test_steps_follow_the_length_of_the_run(end, milestones):
    relative = RelativeMultiStepLR(optimizer(), milestones=(1 / 3, 2 / 3), end=end)
    absolute = MultiStepLR(optimizer(), milestones=milestones, gamma=0.1, end=end)
    assert run(relative, end) == run(absolute, end)


@pytest.mark.parametrize("end, milestones", [(368750, [327778, 355092]), (737500, [655556, 710184])])
def test_published_steps_of_mask2former(end, milestones):
    """The Mask2Former configs' shares are the published iterations of both schedules."""
    scheduler = RelativeMultiStepLR(optimizer(), milestones=(8 / 9, 0.962961), end=end, by_epoch=False)
    assert sorted(scheduler.milestones) == milestones


def test_steps_after_a_warm_up_and_after_resuming():
    def make():
        chosen = optimizer()
        warmup = LinearLR(chosen, start_factor=0.1, begin=0, end=2)
        return [warmup, RelativeMultiStepLR(chosen, milestones=(0.5,), gamma=0.2, end=8)]

    def go(schedulers, steps):
        used = []
        for _ in range(steps):
            used.append(schedulers[0].optimizer.param_groups[0]["lr"])
            schedulers[0].optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        return used

    schedulers = make()
    whole = go(schedulers, 8)
    assert whole[0] == pytest.approx(0.2) and whole[2:] == pytest.approx([2.0, 2.0, 0.4, 0.4, 0.4, 0.4])
    first = make()
    head = go(first, 5)
    second = make()
    second[0].optimizer.load_state_dict(first[0].optimizer.state_dict())
    for new, old in zip(second, first, strict=True):
        new.load_state_dict(old.state_dict())
    assert head + go(second, 3) == whole


@pytest.mark.parametrize("milestones", [(60, 120), (0.6, 0.3), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_steps_that_are_no_shares_are_refused(milestones):
    with pytest.raises(ConfigError, match=r"increasing fractions of the run, such as \(0.3, 0.6, 0.8\)"):
        RelativeMultiStepLR(optimizer(), milestones=milestones, end=200)
