"""Batch norms that never change, without storing their input for backward."""

import torch
from torch import Tensor, nn


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d of which statistics, weight and bias are frozen. `freeze` converts an existing one.

    In training it is one multiplication and addition by constants, whose gradient does not need the input: torch's norm
    stores it, which for a ResNet is half of the tensors.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not (torch.is_grad_enabled() and x.requires_grad) or self.weight.requires_grad:
            return super().forward(x)
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None]).to(x.dtype)


def freeze(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Freeze weight and bias of a norm, and convert plain ones to FrozenBatchNorm2d in place. The caller sets eval."""
    norm.requires_grad_(False)
    if type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats:
        norm.__class__ = FrozenBatchNorm2d
