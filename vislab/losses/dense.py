"""Per-pixel losses in float32: scale-invariant log error for depth, cross-entropy for classes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vislab.registry import MODELS


@MODELS.register_module()
class SILogLoss(nn.Module):
    """Scale-invariant log loss: alpha * sqrt(mean(e^2) - lam * mean(e)^2), with e = log prediction - log target.

    The means are taken over all valid pixels of the batch. The loss and its gradient are 0 for a batch without valid
    pixels, and finite for a single pixel and for a perfect prediction.

    Args:
        lam: 0 is the plain log error; 1 is invariant to a common factor on the depth.
        alpha: Weight of the loss; 10 as in BTS and its successors.
        eps: Added under the square root, whose gradient at 0 is infinite.
    """

    def __init__(self, *, lam: float = 0.85, alpha: float = 10.0, eps: float = 1e-8):
        super().__init__()
        self.lam, self.alpha, self.eps = lam, alpha, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `prediction` > 0 and `target`, of the same shape and in meters.

        Pixels whose target is <= 0 or not finite are ignored.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prediction.float(), target.float()
            valid = (target > 0) & target.isfinite()
            count = valid.sum()
            # no indexing by a mask, which synchronizes with the GPU; no log of invalid values, whose gradient is NaN
            safe = torch.where(valid, target, 1.0)
            error = torch.log(torch.where(valid, prediction, 1.0).clamp(min=1e-12)) - torch.log(safe)
            n = count.clamp(min=1)
            mean = error.sum() / n
            # mean(e^2) - lam * mean(e)^2 in a form that rounding cannot make negative
            variance = (torch.where(valid, error - mean, 0.0)).square().sum() / n
            return self.alpha * (torch.sqrt(variance + (1 - self.lam) * mean.square() + self.eps)) * (count > 0)


@MODELS.register_module()
class PixelCrossEntropy(nn.Module):
    """Mean cross-entropy over the pixels that are not ignored; 0, with a zero gradient, if all pixels are ignored.

    Args:
        ignore_index: Label of ignored pixels.
        label_smoothing: Share of the target distributed evenly over all classes, in [0, 1).
    """

    def __init__(self, *, ignore_index: int = 255, label_smoothing: float = 0.0):
        super().__init__()
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of `logits` (B, C, H, W) and `labels` (B, H, W) int64."""
        with torch.autocast(logits.device.type, enabled=False):
            total = F.cross_entropy(
                logits.float(),
                labels.long(),
                ignore_index=self.ignore_index,
                label_smoothing=self.label_smoothing,
                reduction="sum",
            )
            return total / (labels != self.ignore_index).sum().clamp(min=1)
