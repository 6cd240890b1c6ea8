"""Test the number of epochs for a given time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from vislab.systems.hnerv import HNeRV
from vislab.systems.hnerv.codec.schedule import EpochPlanner, StepCosts, time_steps
from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings

SETTINGS = TrainingSettings(epochs=10, fit_share=0.5, refresh=10)
COSTS = StepCosts(fit=0.01, rounded=0.02, refresh=0.1)


def planner(end=100.0):
    return EpochPlanner(COSTS, end=end + 0.4 * 0.01 * 50, frames=50, decoded=50)  # the decoding takes 0.2 s


def test_epochs_fill_the_time():
    # per epoch half of 50 * 0.01 and half of 50 * (0.02 + 0.1 / 10)
    assert planner().epochs(0, settings=SETTINGS) == pytest.approx(100)
    assert planner().epochs(58.5, settings=SETTINGS) == pytest.approx(41.5)
    assert planner().epochs(200, settings=SETTINGS) == 2


def test_epochs_follow_the_time_that_they_take():
    plan, training = planner(), SimpleNamespace(settings=replace(SETTINGS, epochs=98), epoch=1)
    plan.adapt(training, now=0.5)
    assert training.settings.epochs == 98  # one time is needed first
    training.epoch = 2
    plan.adapt(training, now=1.5)  # an epoch took twice the estimate
    assert training.settings.epochs == pytest.approx(49 + 1, abs=1)
    before, training.epoch = training.settings, 23
    plan.adapt(training, now=101.5)  # no time is left, but the fit is not made shorter than it already is
    assert training.settings == before


def test_epochs_with_rounding_end_at_the_time():
    plan, training = planner(), SimpleNamespace(settings=replace(SETTINGS, epochs=10), epoch=5)
    plan.adapt(training, now=50)
    training.epoch = 6
    plan.adapt(training, now=90)  # the first one prepares the rounding, too
    assert training.settings.epochs == 10
    training.epoch = 7
    plan.adapt(training, now=94)
    assert training.settings.epochs == pytest.approx(8.5) and training.settings.fit_epochs == 5
    training.epoch = 8
    plan.adapt(training, now=101)
    assert training.settings.epochs == 8 and training.settings.fit_epochs == 5


def test_steps_are_timed_on_a_training_of_their_own():
    torch.manual_seed(0)
    started = []

    def start(settings, frames):
        started.append((settings.epochs, len(frames)))
        network = HNeRV(strides=(2, 2), embed_dim=4, encoder_width=8, decoder_width=8, min_width=6)
        return SegmentTraining(network, frames, settings)

    costs = time_steps(start, SETTINGS, torch.randint(0, 256, (20, 3, 8, 12), dtype=torch.uint8))
    assert started == [(4, 12)] and costs.fit > 0 and costs.rounded > 0 and costs.refresh >= 0
