"""Test fitting and compression of a segment: learning, fewer bits for larger lam, targets, and resuming bit for bit."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.systems.hnerv.test_model import moving_square
from vislab.errors import ConfigError, TrainingError
from vislab.systems.hnerv import HNeRV
from vislab.systems.hnerv.codec.content import dequantize
from vislab.systems.hnerv.codec.relaxed import SegmentCosts
from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings, compress


def frames():
    return (moving_square() * 255).round().byte()


def training(**settings):
    torch.manual_seed(0)
    network = HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=4)
    return SegmentTraining(network, frames(), TrainingSettings(**{"epochs": 9, "refresh": 40, **settings}), section=4)


def run(one):
    while not one.finished:
        progress = one.run_epoch()
    return progress


def psnr(segment):
    network = segment.spec.network()
    network.load_state_dict(dequantize(segment.weights))
    with torch.no_grad():
        images = network(torch.from_numpy(segment.embeddings.values()))
    return -10 * (images - frames().float() / 255).square().mean().log10().item()


def same(one, other):
    return all(
        np.array_equal(a.symbols, b.symbols) and np.array_equal(a.step, b.step)
        for a, b in zip(
            [*one.weights.values(), one.embeddings], [*other.weights.values(), other.embeddings], strict=True
        )
    )


@pytest.mark.slow
def test_learns_while_rounded_and_pays_for_bits():
    found = {}
    for lam in (0.0003, 0.1):
        one = training(epochs=24, lam=lam)
        last = run(one)
        segment = one.segment()
        found[lam] = psnr(segment), SegmentCosts(segment).exact_bits(segment)
        assert last.psnr == pytest.approx(found[lam][0], abs=1.5) and last.lam == pytest.approx(lam)
    assert found[0.0003][0] > 20 and found[0.1][1] < 0.8 * found[0.0003][1]


@pytest.mark.parametrize("target", [pytest.param(1.2e4, marks=pytest.mark.slow), 4e4])
def test_a_target_is_met(target):
    one = training(epochs=24, target_bits=target, refresh=10)
    run(one)
    segment = one.segment()
    assert 0.8 * target < SegmentCosts(segment).exact_bits(segment) <= target
    assert psnr(segment) > 17


def test_a_part_of_the_last_epoch(monkeypatch):
    one, numbers = training(epochs=2.4, fit_share=0.5), []
    step = one._step
    monkeypatch.setattr(one, "_step", lambda number, generator: numbers.append(number) or step(number, generator))
    progress = run(one)
    assert progress.epoch == 3 and len(numbers) == round(2.4 * len(frames())) and np.isfinite(progress.psnr)
    assert set(numbers[: len(frames())]) == set(range(len(frames())))


@pytest.mark.parametrize("share", [0.98, 0.6])
def test_too_many_bits_are_rounded_away(share):
    one = training(epochs=3, lam=1e-6)
    run(one)
    target = share * SegmentCosts(one.segment()).exact_bits(one.segment())
    one.settings = dataclasses.replace(one.settings, target_bits=target)
    segment = one.segment()
    assert 0.96 * target < SegmentCosts(segment).exact_bits(segment) <= target
    assert psnr(segment) > 10


def test_compress_runs_to_the_end_and_reports():
    found = []
    torch.manual_seed(0)
    network = HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=4)
    settings = TrainingSettings(epochs=9, refresh=40)
    segment = compress(network, frames(), settings, section=4, report=found.append)
    other = training()
    run(other)
    assert same(segment, other.segment()) and [p.epoch for p in found] == list(range(1, 10))
    assert found[0].bits == 0 < found[-1].bits


def test_nothing_to_store_before_the_rounding():
    one = training()
    one.run_epoch()
    with pytest.raises(TrainingError, match="not rounded yet"):
        one.segment()


def test_phases_of_the_run():
    settings = TrainingSettings(epochs=36)
    assert (settings.fit_epochs, settings.round_from) == (16, 16)
    soft = TrainingSettings(epochs=36, soft_share=0.2)
    assert (soft.fit_epochs, soft.round_from) == (16, 23)
    shortest = TrainingSettings(epochs=2, soft_share=0.4)
    assert (shortest.fit_epochs, shortest.round_from) == (1, 1)
    assert settings.rate(0.0) == pytest.approx(0.1) and settings.rate(1.0) == pytest.approx(0.0)
    assert max(settings.rate(i / 100) for i in range(100)) == pytest.approx(1.0)


@pytest.mark.parametrize("settings", [{"epochs": 1}, {"fit_share": 0.9, "soft_share": 0.1}, {"fit_share": 0.0}])
def test_mistakes_are_refused(settings):
    with pytest.raises(ConfigError):
        TrainingSettings(**settings)


def test_still_videos_have_steps_that_can_be_coded():
    still = frames()[:1].expand(3, -1, -1, -1)
    torch.manual_seed(0)
    network = HNeRV(strides=(5, 2, 2), embed_dim=8, encoder_width=12, decoder_width=16, min_width=4)
    with torch.no_grad():
        network.encoder[-1].mlp[-1].bias.fill_(2e6)  # as large as after a long fit; layer scale makes it 2
    segment = compress(network, still, TrainingSettings(epochs=2), section=4)
    assert np.abs(segment.embeddings.symbols).max() < 2000 and segment.embeddings.values().max() > 1
