"""Test PSNR and VideoQuality: averages over frames, float and 8-bit, number of MS-SSIM scales."""

import math

import pytest
import torch

from vislab.errors import DataError
from vislab.evaluation.video import VideoQuality, psnr, to_8bit
from vislab.ops.ssim import ms_ssim
from vislab.registry import METRICS


def test_psnr_of_known_errors():
    a = torch.zeros(2, 3, 8, 8)
    b = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.01)])
    assert psnr(a, b).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)
    assert psnr(a, a).tolist() == [100.0, 100.0]


def test_8bit_rounds_to_the_nearest_level():
    assert (to_8bit(torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.2])) * 255).tolist() == pytest.approx([0, 0, 1, 255])


def run(metric, frames, images):
    for start in range(0, len(frames), 2):  # batches of two
        part = slice(start, start + 2)
        metric.process({"inputs": list(frames[part])}, [{"pred_image": image} for image in images[part]])
    return metric.evaluate(len(frames))


def test_video_quality_averages_frames_not_errors():
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (3, 3, 96, 100), dtype=torch.uint8)
    target = frames.float() / 255
    noise = torch.randn_like(target) * torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1)
    images = (target + noise).clamp(0, 1)
    got = run(METRICS.build({"type": "VideoQuality"}), frames, images)
    assert set(got) == {"psnr", "psnr_8bit", "ms_ssim", "ms_ssim_8bit", "ms_ssim_scales"}
    assert got["psnr"] == pytest.approx(psnr(images, target).mean().item(), abs=1e-4)
    of_mean_error = -10 * math.log10((images - target).square().mean().item())
    assert abs(got["psnr"] - of_mean_error) > 1  # the other average is another number
    assert got["ms_ssim"] == pytest.approx(ms_ssim(images, target, scales=4).mean().item(), abs=1e-5)
    assert got["psnr_8bit"] == pytest.approx(psnr(to_8bit(images), target).mean().item(), abs=1e-4)
    assert got["ms_ssim_scales"] == 4


def test_rounding_is_seen_and_perfect_frames_stay_finite():
    torch.manual_seed(0)
    frames = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    images = frames.float() / 255 + 0.3 / 255  # rounds back to the frame itself
    got = run(VideoQuality(), frames, images)
    assert got["psnr_8bit"] == pytest.approx(100) and got["psnr"] < 60


def test_results_are_plain_numbers():
    metric = VideoQuality()
    metric.process({"inputs": [torch.zeros(3, 16, 16, dtype=torch.uint8)]}, [{"pred_image": torch.zeros(3, 16, 16)}])
    image, values = metric.results[0]
    assert (image.image, image.score) == ("image 0", 100.0)
    assert len(values) == 5 and all(isinstance(v, float | int) for v in values)


def test_frames_that_are_no_numbers_or_do_not_fit_are_named():
    frames = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    images = torch.zeros(3, 3, 16, 16)
    images[1, 0, 3, 3], images[2, 0, 0, 0] = float("nan"), float("inf")
    with pytest.raises(DataError, match="2 of 3 predicted frames contain NaN or infinity, first frame 1"):
        run(VideoQuality(), frames, images)
    with pytest.raises(DataError, match=r"uint8 \(3, 16, 16\), its prediction has the shape \(3, 8, 8\)"):
        run(VideoQuality(), frames, images[..., :8, :8])
    with pytest.raises(DataError, match="is float32"):
        run(VideoQuality(), frames.float(), images)
    with pytest.raises(DataError, match="no pred_image"):
        VideoQuality().process({"inputs": frames[:1]}, [{}])
    with pytest.raises(DataError, match="no sample was evaluated"):
        VideoQuality().compute_metrics([])
