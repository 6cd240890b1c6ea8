"""Baseline decoders for timm encoders: linear and FPN."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, check_choice
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.ops.images import normalize, pad_to_multiple
from vislab.registry import MODELS


@MODELS.register_module()
class FPNNetwork(nn.Module):
    """Encoder and baseline decoder from images (B, 3, H, W) in [0, 1] of any size to maps (B, out_channels, H, W).

    kind "fpn": a 1x1 convolution to `width` channels per stage, top-down addition, a 3x3 convolution per stage,
    addition of all stages at the finest resolution, and a 1x1 convolution.
    kind "linear": batch norm and a 1x1 convolution to `out_channels` per stage, and addition of all stages at the
    finest resolution.
    Both end with bilinear interpolation to full resolution. Plain vision transformers, whose stages have the same size,
    are supported.

    Args:
        encoder: TimmEncoder or its arguments.
        out_channels: 1 for depth, the number of classes for segmentation.
        kind: "fpn" or "linear".
        width: Number of channels of the FPN.
    """

    def __init__(
        self,
        *,
        encoder: dict | nn.Module,
        out_channels: int = 1,
        kind: Literal["fpn", "linear"] = "fpn",
        width: int = 128,
    ):
        super().__init__()
        check_choice("FPNNetwork: kind", kind, ("fpn", "linear"))
        self.encoder = MODELS.build({"type": TimmEncoder, **encoder}) if isinstance(encoder, dict) else encoder
        if getattr(self.encoder, "normalize", False):
            raise ConfigError("FPNNetwork.encoder: normalize=True would normalize twice")
        self.register_buffer("mean", torch.tensor(self.encoder.mean), persistent=False)
        self.register_buffer("std", torch.tensor(self.encoder.std), persistent=False)
        self.kind, self.out_channels = kind, out_channels
        channels = self.encoder.channels
        if kind == "fpn":
            self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
            self.smooth = nn.ModuleList(_smooth(width) for _ in channels)
            self.output = nn.Conv2d(width, out_channels, 1)
            last = [self.output]
        else:
            self.lateral = nn.ModuleList(
                nn.Sequential(nn.BatchNorm2d(c), nn.Conv2d(c, out_channels, 1)) for c in channels
            )
            last = [layer[1] for layer in self.lateral]
        with torch.no_grad():  # small initial outputs, in the middle of the range
            for layer in last:
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Compute maps (B, out_channels, H, W) of images (B, 3, H, W) in [0, 1]."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(normalize(images, self.mean, self.std), self.encoder.strides[-1])
        maps = [layer(m) for layer, m in zip(self.lateral, self.encoder(padded), strict=True)]
        if self.kind == "fpn":
            for i in range(len(maps) - 1, 0, -1):
                maps[i - 1] = maps[i - 1] + _resize(maps[i], maps[i - 1].shape[-2:])
            maps = [layer(m) for layer, m in zip(self.smooth, maps, strict=True)]
        total = maps[0] + sum(_resize(m, maps[0].shape[-2:]) for m in maps[1:])
        output = self.output(total) if self.kind == "fpn" else total
        return _resize(output, padded.shape[-2:])[..., :height, :width]


def _smooth(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
