"""Losses over pixels: scale-invariant log error for depth, cross-entropy for classes. In float32 under autocast."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vislab.registry import MODELS


@MODELS.register_module()
class SILogLoss(nn.Module):
    """alpha * sqrt(mean(e^2) - lam * mean(e)^2), e = log prediction - log target, over all valid pixels of the batch.

    A batch without a valid pixel gives 0 with a gradient of 0; neither that, nor one pixel, nor a perfect prediction
    gives NaN.

    Args:
        lam: 0 is plain log error, 1 ignores a common factor on the depth altogether.
        alpha: weight; 10 as the BTS family of methods trains.
        eps: added under the root, whose slope at 0 is infinite.
    """

    def __init__(self, *, lam: float = 0.85, alpha: float = 10.0, eps: float = 1e-8):
        super().__init__()
        self.lam, self.alpha, self.eps = lam, alpha, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`prediction` > 0 and `target` of one shape, meters; pixels with target <= 0 or not finite do not count."""
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prediction.float(), target.float()
            valid = (target > 0) & target.isfinite()
            count = valid.sum()
            # no indexing by a mask: that would wait for the GPU; and no log of what is not valid: its gradient is NaN
            safe = torch.where(valid, target, 1.0)
            error = torch.log(torch.where(valid, prediction, 1.0).clamp(min=1e-12)) - torch.log(safe)
            n = count.clamp(min=1)
            mean = error.sum() / n
            # mean(e^2) - lam mean(e)^2, written so that rounding cannot make it negative
            variance = (torch.where(valid, error - mean, 0.0)).square().sum() / n
            return self.alpha * (torch.sqrt(variance + (1 - self.lam) * mean.square() + self.eps)) * (count > 0)


@MODELS.register_module()
class PixelCrossEntropy(nn.Module):
    """Mean cross-entropy over the pixels that are not ignored; 0 with a gradient of 0 when all are.

    Args:
        ignore_index: label of pixels that do not count.
        label_smoothing: 0..1.
    """

    def __init__(self, *, ignore_index: int = 255, label_smoothing: float = 0.0):
        super().__init__()
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`logits` (B, C, H, W), `labels` (B, H, W) int64."""
        with torch.autocast(logits.device.type, enabled=False):
            total = F.cross_entropy(
                logits.float(),
                labels.long(),
                ignore_index=self.ignore_index,
                label_smoothing=self.label_smoothing,
                reduction="sum",
            )
            return total / (labels != self.ignore_index).sum().clamp(min=1)
