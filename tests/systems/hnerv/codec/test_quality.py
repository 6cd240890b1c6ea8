"""Test PSNR of decoded frames, and segments lowered to a quality."""

import numpy as np
import pytest

from tests.helpers.hnv import SMALL_INFO, small_segment
from vislab.systems.hnerv.codec import HnvDecoder, write_hnv
from vislab.systems.hnerv.codec.quality import fit_quality, mean_psnr, segment_psnr


def decoded(tmp_path, segment):
    write_hnv(tmp_path / "a.hnv", SMALL_INFO, [segment])
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        return np.stack(list(decoder.decode(range(segment.frames))))


def test_psnr_is_the_mean_over_frames():
    a = np.zeros((2, 4, 5, 3), np.uint8)
    b = np.stack([np.full((4, 5, 3), 255, np.uint8), np.full((4, 5, 3), 51, np.uint8)])
    assert mean_psnr(a, b) == pytest.approx((0 + 20 * np.log10(5)) / 2)
    with pytest.raises(ValueError):
        mean_psnr(a, b[:1])


def test_psnr_of_a_segment_is_that_of_the_file(tmp_path):
    segment = small_segment(frames=6)
    frames = np.random.default_rng(0).integers(0, 256, (6, 3, 18, 24), dtype=np.uint8)
    expected = mean_psnr(decoded(tmp_path, segment), frames[:, :, :17, :22].transpose(0, 2, 3, 1))
    assert segment_psnr(segment, frames, (17, 22)) == pytest.approx(expected, abs=0.01)


def test_larger_steps_lower_the_quality_to_a_target(tmp_path):
    segment = small_segment(frames=6, weight_bits=10)
    frames = np.pad(decoded(tmp_path, segment), ((0, 0), (0, 1), (0, 2), (0, 0)), "edge").transpose(0, 3, 1, 2)
    lowered = fit_quality(segment, frames, (17, 22), 35.0)
    assert 35.0 <= segment_psnr(lowered, frames, (17, 22)) < 36.0
    assert fit_quality(segment, frames, (17, 22), 90.0) is segment
