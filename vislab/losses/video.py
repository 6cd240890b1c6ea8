"""Reconstruction losses for video, as used by HNeRV: mean squared error, and a combination of L1 and SSIM."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vislab.ops.ssim import ssim
from vislab.registry import MODELS


@MODELS.register_module()
class L2Loss(nn.Module):
    """Mean squared error over all pixels and channels, computed in float32."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(prediction.float(), target.float())


@MODELS.register_module()
class Fusion6Loss(nn.Module):
    """l1_weight * L1 + (1 - l1_weight) * (1 - SSIM) of images (B, 3, H, W) in [0, 1], computed in float32.

    Args:
        l1_weight: Weight of the L1 term, in [0, 1].
    """

    def __init__(self, *, l1_weight: float = 0.7):
        super().__init__()
        self.l1_weight = l1_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prediction.float(), target.float()
            l1 = F.l1_loss(prediction, target)
            return self.l1_weight * l1 + (1 - self.l1_weight) * (1 - ssim(prediction, target).mean())
