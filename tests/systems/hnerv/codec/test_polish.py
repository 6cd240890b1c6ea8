"""Test polishing of embeddings: lower errors, no more bytes, the same weights."""

import dataclasses

import numpy as np
import torch

from tests.systems.hnerv.codec.test_training import frames, psnr, run, training
from vislab.systems.hnerv.codec.content import Quantized, VideoInfo
from vislab.systems.hnerv.codec.polish import polish
from vislab.systems.hnerv.codec.writer import coded_size


def test_better_and_not_larger():
    one = training(epochs=12)
    run(one)
    segment = one.segment()
    rng = np.random.default_rng(0)
    noise = rng.integers(-6, 7, segment.embeddings.symbols.shape).astype(np.int32)
    worse = Quantized(segment.embeddings.symbols + noise, segment.embeddings.step)
    segment = dataclasses.replace(segment, embeddings=worse)
    found = polish(segment, frames(), epochs=40, lr=0.1, lam=0.05)
    info = VideoInfo(size=(40, 80))
    assert coded_size(info, found) <= coded_size(info, segment)
    assert psnr(found) > psnr(segment) + 0.3
    for name, tensor in segment.weights.items():
        assert found.weights[name] is tensor


def test_nothing_is_taken_that_does_not_help():
    one = training(epochs=3)
    run(one)
    segment = one.segment()
    assert psnr(polish(segment, frames(), epochs=1, lr=50.0)) >= psnr(segment)
    assert polish(segment, frames(), epochs=1, lr=0.0) is segment


def test_padding_does_not_count():
    one = training(epochs=3)
    run(one)
    other = frames().clone()
    other[..., 30:, :] = torch.randint(0, 256, (6, 3, 10, 80), dtype=torch.uint8)
    found = [polish(one.segment(), video, epochs=4, lr=0.5, size=(30, 80)) for video in (frames(), other)]
    assert np.array_equal(found[0].embeddings.symbols, found[1].embeddings.symbols)
