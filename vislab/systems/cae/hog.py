"""Target of histograms of oriented gradients (Dalal and Triggs, CVPR 2005); needs no weights."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.models.encoders.vit import ViT
from vislab.ops.patches import take_rows
from vislab.registry import MODELS
from vislab.systems.cae.targets import MaskedBatch, Target, wide

_EPS = 1e-5  # of the contrast normalization


def hog(images: Tensor, cell_size: int, bins: int = 9) -> Tensor:
    """Return the histograms (B, C, bins, H / cell_size, W / cell_size) of images (B, C, H, W) in [0, 1].

    For each channel: gradients are central differences, zero at the border; each pixel adds its magnitude to one bin of
    the direction in [0, pi); the histogram of a cell is divided by its L2 norm, so that contrast does not matter. A
    cell without gradients has zeros. Equals `skimage.feature.hog` of a channel with cells_per_block=(1, 1) and
    block_norm="L2".
    """
    images = wide(images)
    # (B, C, H, W), the border of zeros included
    x = F.pad(images[..., 2:] - images[..., :-2], (1, 1))
    y = F.pad(images[..., 2:, :] - images[..., :-2, :], (0, 0, 1, 1))
    magnitude = torch.hypot(x, y)
    direction = torch.atan2(y, x).remainder(math.pi) * (bins / math.pi)
    chosen = direction.long().clamp_(max=bins - 1)  # of pi itself, which rounding produces, the last
    zero = magnitude.new_zeros(())
    cells = [F.avg_pool2d(torch.where(chosen == k, magnitude, zero), cell_size) for k in range(bins)]
    histogram = torch.stack(cells, dim=2)
    return histogram / (histogram.square().sum(dim=2, keepdim=True) + _EPS**2).sqrt()


def patch_hog(images: Tensor, patch_size: int, cell_size: int, bins: int = 9) -> Tensor:
    """Return the histograms of the cells in each patch: (B, h * w, C * bins * (patch_size / cell_size)^2).

    Patches are in raster order; `cell_size` divides `patch_size`.
    """
    n = patch_size // cell_size
    cells = hog(images, cell_size, bins)  # (B, C, bins, h * n, w * n)
    cells = cells.unflatten(4, (-1, n)).unflatten(3, (-1, n))  # (B, C, bins, h, n, w, n)
    return cells.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)


@MODELS.register_module()
class HogTarget(Target):
    """Histograms of oriented gradients of the masked patches, normalized by contrast (MaskFeat, arXiv 2112.09133).

    Args:
        cell_size: Side of a cell in pixels, a divisor of the patch size. Published: 8 in patches of 16.
        bins: Directions in half a turn.
    """

    name = "histograms of oriented gradients"

    def __init__(self, *, cell_size: int = 8, bins: int = 9) -> None:
        super().__init__()
        if cell_size < 1 or bins < 1:
            raise ConfigError(f"HogTarget: cell_size={cell_size}, bins={bins}: expected numbers of at least 1")
        self.cell_size, self.bins = cell_size, bins
        self.patch_size = cell_size

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        if encoder.patch_size % self.cell_size:
            raise ConfigError(
                f"HogTarget: cell_size={self.cell_size} does not divide the encoder's patch_size={encoder.patch_size}"
            )
        self.patch_size = encoder.patch_size
        return encoder.in_channels * self.bins * (self.patch_size // self.cell_size) ** 2

    def labels(self, batch: MaskedBatch) -> Tensor:
        features = patch_hog(batch.pixels, self.patch_size, self.cell_size, self.bins)
        return take_rows(features, batch.ids_masked)

    def loss(self, prediction: Tensor, labels: Tensor) -> Tensor:
        return (wide(prediction) - labels).square().mean(dim=2)
