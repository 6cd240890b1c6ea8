"""Test the term of a frozen network: it brings what the network sees closer, is resumed, and is part of the plan."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.hnv import small_hnv
from vislab.errors import ConfigError
from vislab.systems.hnerv import HNeRV
from vislab.systems.hnerv.codec import HnvDecoder, SegmentTraining, TrainingSettings
from vislab.systems.hnerv.codec.encode_video import encode
from vislab.systems.hnerv.codec.encoding import EncodeOptions, Encoding
from vislab.systems.hnerv.codec.quality import segment_psnr
from vislab.systems.hnerv.codec.source import open_source
from vislab.systems.hnerv.codec.task import Task, mean_measures

SETTINGS = TrainingSettings(epochs=40, lam=1e-4, refresh=20)


def top_left(images):
    """See nothing but the top left corner."""
    return images[..., :6, :8]


def see(images, originals):
    assert images.shape[-2:] == originals.shape[-2:] == (17, 22), "what was padded is cut off"
    return (top_left(images) - top_left(originals)).square().mean()


def measure(images, originals):
    return {"error": see(images, originals).item()}


TASK = Task(see, measure, "corner", 20.0)


@pytest.fixture(scope="module")
def frames():
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(4, 3, 6, 8, generator=generator)
    return (torch.nn.functional.interpolate(small, (18, 24), mode="bilinear") * 255).byte()


def training(frames, task, settings=SETTINGS):
    torch.manual_seed(0)
    network = HNeRV(strides=(3, 2), embed_dim=4, encoder_width=8, decoder_width=8, min_width=4)
    return SegmentTraining(network, frames, settings, size=(17, 22), task=task)


def fit(one):
    while not one.finished:
        one.run_epoch()
    return one.segment()


def test_the_term_acts_from_the_rounding_on(frames):
    calls = []

    def count(images, originals):
        assert images.requires_grad and not originals.requires_grad
        calls.append(images)
        return see(images, originals)

    settings = replace(SETTINGS, epochs=2)
    one, plain = training(frames, replace(TASK, distance=count), settings), training(frames, None, settings)
    for each in (one, plain):
        each.run_epoch()
    weights = zip(one.network.parameters(), plain.network.parameters(), strict=True)
    assert not calls and all(torch.equal(a, b) for a, b in weights)
    for each in (one, plain):
        each.run_epoch()
    assert len(calls) == len(frames)
    assert not torch.equal(one.relaxed.embeddings, plain.relaxed.embeddings)


@pytest.mark.slow
def test_the_network_sees_less_difference_at_the_cost_of_the_rest(frames):
    plain, seen = (fit(training(frames, task)) for task in (None, TASK))
    pixels = frames.numpy()
    assert segment_psnr(seen, pixels, (6, 8)) > segment_psnr(plain, pixels, (6, 8)) + 1
    assert segment_psnr(seen, pixels, (17, 22)) < segment_psnr(plain, pixels, (17, 22))


def test_measures_are_means_over_frames():
    originals = [np.zeros((17, 22, 3), np.uint8)] * 2
    decoded = [np.full((17, 22, 3), level, np.uint8) for level in (0, 255)]
    assert mean_measures(TASK, decoded, originals) == {"error": pytest.approx(0.5)}


def test_the_term_is_part_of_the_plan_and_reported(tmp_path):
    source = small_hnv(tmp_path / "source.hnv", frames=4)

    def stop(status):
        raise KeyboardInterrupt

    options = EncodeOptions(epochs=3, strides=(3, 2))
    with pytest.raises(KeyboardInterrupt):
        Encoding(open_source(source), tmp_path / "a.hnv", options, stop, task=TASK).run()
    for other in (None, replace(TASK, weight=1.0), replace(TASK, name="other")):
        with pytest.raises(ConfigError, match="other options"):
            Encoding(open_source(source), tmp_path / "a.hnv", options, task=other).run()
    lines = encode(source, tmp_path / "a.hnv", epochs=3, strides=(3, 2), task=TASK)
    assert lines[1].startswith("corner on decoded frames against originals: error 0.")
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        assert len(decoder) == 4


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(ConfigError, match="weight of the task"):
        replace(TASK, weight=weight)
