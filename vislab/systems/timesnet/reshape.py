"""Re-Shape modules: upsample feature maps and reduce their channels.

Three types of upsampling by a factor r: `shuffle` (LayerNorm, 1x1 convolution to r^2 times the channels, pixel shuffle;
no interpolation), `transposed` (LayerNorm, a chain of non-overlapping transposed convolutions) and `bilinear`
(LayerNorm, 1x1 convolution, interpolation).
"""

from typing import Literal

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, check_choice

Kind = Literal["shuffle", "transposed", "bilinear"]
KINDS = ("shuffle", "transposed", "bilinear")


class Upscale(nn.Module):
    """Bilinear upsampling by an integer factor."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


class ReShape(nn.Sequential):
    """LayerNorm and upsampling from (B, in_channels, h, w) to (B, out_channels, h * factor, w * factor).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        factor: Integer upsampling factor, at least 1.
        kind: "shuffle", "transposed" or "bilinear".
    """

    def __init__(self, *, in_channels: int, out_channels: int, factor: int, kind: Kind = "shuffle"):
        layers: list[nn.Module] = [LayerNorm2d(in_channels, eps=1e-6)]
        if kind == "shuffle":
            layers.append(nn.Conv2d(in_channels, out_channels * factor**2, 1))
            layers += [nn.PixelShuffle(factor)] if factor > 1 else []
        elif kind == "transposed":
            layers += _transposed(in_channels, out_channels, factor)
        elif kind == "bilinear":
            layers.append(nn.Conv2d(in_channels, out_channels, 1))
            layers += [Upscale(factor)] if factor > 1 else []
        else:
            raise ConfigError(f"Re-Shape: kind={kind!r} is not one of {', '.join(KINDS)}")
        super().__init__(*layers)


class GateReShape(nn.Sequential):
    """Re-Shape from the last encoder map (B, in_channels, h, w) to the gate (B, 3, h * stride, w * stride).

    Upsampling has two steps by default, x4 and x8 for stride 32. The initial output has mean `start` and a standard
    deviation of about `noise`, which is not zero so that the encoder gets a gradient in the first step.

    Args:
        in_channels: Channels of the map.
        stride: Stride of the map.
        steps: Number of steps, 1 or 2, for kind "shuffle".
        width: Channels between the two steps.
        kind: "shuffle", "transposed" or "bilinear".
        start: Mean of the initial output.
        noise: Standard deviation of the initial output.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        stride: int,
        steps: Literal[1, 2] = 2,
        width: int = 192,
        kind: Kind = "shuffle",
        start: float = 1.0,
        noise: float = 0.01,
    ):
        if steps not in (1, 2):
            raise ConfigError(f"TimesNet: gate_steps={steps!r} must be 1 or 2")
        first = _first_step(stride)
        if kind == "shuffle" and steps == 2 and first > 1:
            second = stride // first
            last = nn.Conv2d(width, 3 * second**2, 3, padding=1)
            layers = [
                ReShape(in_channels=in_channels, out_channels=width, factor=first),
                nn.GELU(),
                last,
                nn.PixelShuffle(second),
            ]
            energy = 0.1  # mean square of GELU after a convolution with torch's initial weights after a norm
        else:
            layers = list(ReShape(in_channels=in_channels, out_channels=3, factor=stride, kind=kind))
            last = next(m for m in reversed(layers) if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
            energy = 1.0  # after a norm
        super().__init__(*layers)
        kernel = last.weight[0, 0].numel() if isinstance(last, nn.Conv2d) else 1
        nn.init.normal_(last.weight, std=noise / (last.in_channels * kernel * energy) ** 0.5)
        nn.init.constant_(last.bias, start)


def _first_step(stride: int) -> int:
    """Return the first of two factors; the second is 8 if that divides the stride, else its largest divisor below 8."""
    second = max(d for d in range(1, 9) if stride % d == 0)
    return stride // second


def _transposed(in_channels: int, out_channels: int, factor: int) -> list[nn.Module]:
    steps, rest = [], factor
    while rest > 1:
        step = next(p for p in range(2, rest + 1) if rest % p == 0)
        steps.append(step)
        rest //= step
    if not steps:
        return [nn.Conv2d(in_channels, out_channels, 1)]
    layers: list[nn.Module] = []
    width = in_channels
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        narrower = out_channels if last else max(width // 2, out_channels)
        layers.append(nn.ConvTranspose2d(width, narrower, step, step))
        layers += [] if last else [nn.GELU()]
        width = narrower
    return layers


class MapHead(nn.Sequential):
    """Output head from concatenated maps (B, in_channels, h, w) to (B, out_channels, h * factor, w * factor).

    LayerNorm, 3x3 convolution to `width` channels, GELU, 1x1 convolution, and pixel shuffle or bilinear interpolation.
    The latter needs factor^2 times less memory, which matters with many classes.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        factor: int,
        width: int = 64,
        kind: Literal["shuffle", "bilinear"] = "shuffle",
    ):
        check_choice("TimesNet: head", kind, ("shuffle", "bilinear"))
        shuffled = kind == "shuffle"
        super().__init__(
            LayerNorm2d(in_channels, eps=1e-6),
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, out_channels * (factor**2 if shuffled else 1), 1),
            nn.PixelShuffle(factor) if shuffled else Upscale(factor),
        )
        with torch.no_grad():  # small initial outputs, in the middle of the range
            self[3].weight.mul_(0.1)
            self[3].bias.zero_()
            if shuffled:  # same initial weights for all pixels of a cell, to avoid a grid pattern
                self[3].weight.copy_(self[3].weight[:: factor**2].repeat_interleave(factor**2, dim=0))
