"""Quality of reconstructed video frames: PSNR and MS-SSIM per frame, averaged over the frames as in the NeRV papers.

Both are computed for the float output of the network, as published, and for the output rounded to 8 bits, as a decoder
would show it.
"""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from vislab.errors import DataError
from vislab.evaluation.checks import require_field, require_results
from vislab.evaluation.details import Details, image_score, worst_images
from vislab.ops.ssim import ms_ssim, ms_ssim_scales
from vislab.registry import METRICS

_NAMES = ("psnr", "psnr_8bit", "ms_ssim", "ms_ssim_8bit", "ms_ssim_scales")


def psnr(image: Tensor, other: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of (B, C, H, W) images in [0, 1], one value per image, (B,).

    Limited to 100 dB for equal images, so that means are finite.
    """
    error = (image.float() - other.float()).square().flatten(1).mean(dim=1)
    return -10 * error.clamp(min=1e-10).log10()


def to_8bit(image: Tensor) -> Tensor:
    """Round images in [0, 1] to 256 levels, as floats in [0, 1]."""
    return (image.float().clamp(0, 1) * 255).round() / 255


@METRICS.register_module()
class VideoQuality(BaseMetric):
    """Video quality: psnr, ms_ssim (float output), psnr_8bit, ms_ssim_8bit (rounded output), and ms_ssim_scales.

    `ms_ssim_scales` is 5 for standard MS-SSIM. For sides of 81 to 160 pixels, such as 160x320 frames, it is 4 with
    renormalized weights, and values are not comparable with standard MS-SSIM.

    Targets are the uint8 frames (3, H, W) in "inputs" of the batch; predictions are `pred_image` of the samples.

    Attributes:
        details: The frames with the lowest PSNR.

    Raises:
        DataError: A frame and its prediction differ in size, frames are not uint8, or predictions are not finite.
    """

    default_prefix = None

    def __init__(self, *, collect_device: str = "cpu", prefix: str | None = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.details: Details | None = None

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        return list(_NAMES)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for frame, sample in zip(data_batch["inputs"], data_samples, strict=True):
            name = sample.get("img_path", f"frame {len(self.results)}")
            image = require_field(sample, "pred_image", "VideoQuality", "the model predicts none")[None]  # (1, 3, H, W)
            if frame.dtype != torch.uint8 or frame.shape != image.shape[1:]:
                raise DataError(
                    f"VideoQuality: {name} is {str(frame.dtype).removeprefix('torch.')} {tuple(frame.shape)}, its "
                    f"prediction has the shape {tuple(image.shape[1:])}; expected a uint8 frame of the same shape"
                )
            if not bool(image.isfinite().all()):
                self.results.append((image_score(sample, float("nan"), len(self.results)), (float("nan"),) * 5))
                continue
            target = frame[None].to(image.device).float() / 255
            images = torch.cat([image.float(), to_8bit(image)])
            targets = target.expand_as(images)
            decibels, similarity = psnr(images, targets), ms_ssim(images, targets)
            values = (*decibels.tolist(), *similarity.tolist(), ms_ssim_scales(*image.shape[-2:]))
            self.results.append((image_score(sample, values[0], len(self.results)), values))

    def compute_metrics(self, results: list) -> dict[str, float]:
        require_results(results, "VideoQuality")
        frames, rows = zip(*results, strict=True)
        values = torch.tensor(rows, dtype=torch.float64)
        broken = values.isnan().any(dim=1).nonzero().flatten().tolist()
        if broken:
            raise DataError(
                f"VideoQuality: {len(broken)} of {len(results)} predicted frames contain NaN or infinity, first frame "
                f"{broken[0]}: the weights are damaged or training diverged"
            )
        self.details = Details(metric="VideoQuality", worst=worst_images(frames), score_name="PSNR of the frame in dB")
        means = values.mean(dim=0).tolist()
        return dict(zip(_NAMES, means, strict=True))
