"""Test the NeRV baseline: encoding of frame numbers, sizes, training on a moving shape, and the common model tests."""

import math

import pytest
import torch

from tests.helpers.model_behavior import ModelBehavior
from tests.systems.hnerv.test_model import moving_square
from vislab.errors import ConfigError, DataError
from vislab.structures import DataSample
from vislab.systems.hnerv.nerv import FramePosition, NeRV


def build(**changes):
    settings = {"strides": (5, 2), "frame_size": (40, 80), "num_frames": 6, "decoder_width": 16, "min_width": 4}
    return NeRV(**{**settings, **changes})


class TestNeRV(ModelBehavior):
    def build(self):
        return build()

    def inputs(self, count):
        return moving_square()[:count]

    def samples(self, count):
        return [DataSample(metainfo={"frame_index": i}) for i in range(count)]


def test_positions_equal_the_formula():
    found = FramePosition(num_frames=132)(torch.tensor([0, 1, 131]))
    assert found.shape == (3, 160) and found.dtype == torch.float32
    for row, t in enumerate((0, 1, 131)):
        for level in (0, 1, 40, 79):
            phase = 1.25**level * math.pi * t / 132
            assert found[row, level].item() == pytest.approx(math.sin(phase), abs=1e-6)
            assert found[row, 80 + level].item() == pytest.approx(math.cos(phase), abs=1e-6)


def test_shapes_and_number_of_parameters():
    model = NeRV(strides=(5, 4, 2, 2), frame_size=(640, 1280), num_frames=132, decoder_width=26)
    assert model.grid == (8, 16)
    assert model.decode(torch.tensor([3])).shape == (1, 3, 640, 1280)
    assert sum(p.numel() for p in model.parameters()) == model.decoder_parameters


@pytest.mark.parametrize("target", [0.3e6, 1.5e6])
def test_target_size_is_the_largest_that_fits(target):
    kinds = {"strides": (5, 4), "frame_size": (160, 320), "num_frames": 132}
    model = NeRV(**kinds, target_size=target)
    larger = NeRV(**kinds, decoder_width=model.decoder_width + 1)
    assert model.decoder_parameters <= target < larger.decoder_parameters


def test_learns_frames_by_number():
    torch.manual_seed(0)
    model, frames = build().train(), moving_square()
    samples = [DataSample(metainfo={"frame_index": i}) for i in range(6)]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    first = model(frames, samples, mode="loss")["loss"].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(frames, samples, mode="loss")["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first
    images = torch.stack([s.pred_image for s in model.eval()(frames.flip(0), samples[::-1], mode="predict")])
    assert (images.flip(0) - frames).square().mean() < 0.12 * first  # the number decides, not the content


@pytest.mark.parametrize("index", [None, 6, -1])
def test_unknown_frames_are_refused(index):
    with pytest.raises(DataError, match="expected 0 to 5"):
        build()(torch.rand(1, 3, 40, 80), [DataSample(metainfo={"frame_index": index})], mode="loss")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"frame_size": (41, 80)}, "cannot be divided by the strides"),
        ({"target_size": 1e5}, "exactly one"),
        ({"decoder_width": None}, "exactly one"),
        ({"decoder_width": None, "target_size": 10}, "at least"),
    ],
)
def test_mistakes_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)
