"""Functions on image batches used before the first layer of a network: normalize, pad to a multiple."""

from torch import Tensor
from torch.nn import functional as F


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (images - mean) / std of (B, C, H, W) images; `mean` and `std` are per channel, (C,) or (1, C, 1, 1)."""
    shape = (1, -1, 1, 1)
    return (images - mean.view(shape)) / std.view(shape)


def pad_to_multiple(images: Tensor, multiple: int, value: float = 0.0) -> Tensor:
    """Pad (B, C, H, W) images at the bottom and right so that height and width are multiples of `multiple`."""
    height, width = images.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, below), value=value) if below or right else images
