"""Global response normalization of ConvNeXt V2 with one operation on whole maps instead of three."""

import torch
from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn


class LeanResponseNorm(GlobalResponseNorm):
    """timm's GlobalResponseNorm, x + bias + weight * x * n, as bias + x * (1 + weight * n) with n (B, 1, 1, C).

    Backward needs the input only; timm's form also stores x * n, a map of four times the channels of a block.
    """

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(p=2, dim=self.spatial_dim, keepdim=True)
        size = size / (size.mean(dim=self.channel_dim, keepdim=True) + self.eps)
        gain = 1 + self.weight.view(self.wb_shape) * size
        return torch.addcmul(self.bias.view(self.wb_shape), x, gain)


def use_lean_norms(model: nn.Module) -> None:
    """Convert the norms of a timm model in place; other layers are unchanged."""
    for module in model.modules():
        if type(module) is GlobalResponseNorm:
            module.__class__ = LeanResponseNorm
