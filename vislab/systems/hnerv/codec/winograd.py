"""Stages of the decoder on CPUs, with 5x5 convolutions in Winograd's form along the width.

Four neighboring outputs of a kernel row with five weights need 20 products. From eight inputs d and the weights g they
are A ((G g) * (B d)) with eight, with constant matrices A, G and B from polynomials at the points below and at
infinity. The products are summed over channels and kernel rows by matrix products.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_OUTPUTS, _TAPS = 4, 5
_SIZE = _OUTPUTS + _TAPS - 1  # inputs of a tile, and products
_POINTS = np.array([1.0, 0.0, -1.0, 2.0, -2.0, 0.5, -0.5])
_PRODUCTS = 1 << 20  # computed together, so that they stay in the cache


def transform_matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices of outputs (4, 8), kernels (8, 5) and inputs (8, 8), float64."""
    outputs, kernels, inputs = np.zeros((_OUTPUTS, _SIZE)), np.zeros((_SIZE, _TAPS)), np.zeros((_SIZE, _SIZE))
    for i, point in enumerate(_POINTS):
        others = np.delete(_POINTS, i)
        outputs[:, i] = point ** np.arange(_OUTPUTS)
        kernels[i] = point ** np.arange(_TAPS) / np.prod(point - others)
        inputs[i, :-1] = np.polynomial.polynomial.polyfromroots(others)
    outputs[-1, -1] = kernels[-1, -1] = 1.0  # the point at infinity
    inputs[-1] = np.polynomial.polynomial.polyfromroots(_POINTS)
    return torch.from_numpy(outputs), torch.from_numpy(kernels), torch.from_numpy(inputs)


class WinogradStage(nn.Module):
    """5x5 convolution, pixel shuffle and GELU of a decoder stage, for inference in float32, channels last.

    Args:
        conv: The convolution, with a padding of 2.
        upscale: Factor of the pixel shuffle, s.
    """

    def __init__(self, *, conv: nn.Conv2d, upscale: int) -> None:
        super().__init__()
        channels = conv.out_channels // upscale**2
        split = (channels, upscale**2)  # output channels; a pixel's channels become neighbors
        outputs, kernels, inputs = transform_matrices()
        weight = torch.einsum("ft,oirt->rfio", kernels, conv.weight.double()).unflatten(3, split).transpose(3, 4)
        bias = weight.new_zeros(_SIZE, 1, conv.out_channels)
        bias[0] = conv.bias.unflatten(0, split).t().flatten()  # the product at the point 1 is a term of all outputs
        self.register_buffer("weight", weight.flatten(3).float().contiguous())  # (5, 8, C, C' s s)
        self.register_buffer("bias", bias.float())
        self.register_buffer("outputs", outputs.float())
        self.register_buffer("inputs", inputs.float())
        self.channels, self.upscale = channels, upscale

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C', H s, W s) of maps (B, C, H, W)."""
        batch, _, height, width = x.shape
        tiles, s = -(-width // _OUTPUTS), self.upscale
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 2, 2 + tiles * _OUTPUTS - width, 2, 2)).contiguous()
        found = x.new_empty(batch, height, s, tiles, _OUTPUTS, s, self.channels)
        rows = max(1, _PRODUCTS // (_SIZE * tiles * s * s * self.channels))
        for image, result in zip(x, found, strict=True):
            for top in range(0, height, rows):
                part = result[top : top + rows]
                self._compute(image[top : top + len(part) + _TAPS - 1], part)
        return found.view(batch, height * s, -1, self.channels)[:, :, : width * s].permute(0, 3, 1, 2)

    def _compute(self, image: Tensor, result: Tensor) -> None:
        """Compute rows of the result (rows, s, tiles, 4, s, C') from rows of the image (rows + 4, W + 4, C)."""
        rows, s, tiles, *_ = result.shape
        shape = (_SIZE, len(image), tiles, image.shape[2])
        steps = (image.stride(1), image.stride(0), _OUTPUTS * image.stride(1), 1)
        windows = image.as_strided(shape, steps, image.storage_offset())
        inputs = (self.inputs @ windows.flatten(1)).view(_SIZE, -1, image.shape[2])  # (8, (rows + 4) tiles, C)
        products = torch.baddbmm(self.bias, inputs[:, : rows * tiles], self.weight[0])  # (8, rows tiles, s s C')
        for i in range(1, _TAPS):
            products.baddbmm_(inputs[:, i * tiles : (i + rows) * tiles], self.weight[i])
        maps = torch.ops.aten.gelu_(self.outputs @ products.flatten(1))  # (4, rows tiles s s C')
        result.copy_(maps.view(_OUTPUTS, rows, tiles, s, s, self.channels).permute(1, 3, 2, 0, 4, 5))


def use_winograd(stages: nn.ModuleList) -> None:
    """Replace the stages of a decoder that have 5x5 convolutions."""
    for i, (conv, shuffle, _) in enumerate(stages):
        if conv.kernel_size == (_TAPS, _TAPS):
            stages[i] = WinogradStage(conv=conv, upscale=shuffle.upscale_factor)
