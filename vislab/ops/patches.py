"""Images as rows of square patches, and the selection of patches by index."""

import torch
from torch import Tensor


def patchify(images: Tensor, size: int) -> Tensor:
    """Return the patches (B, N, C * size * size) of images (B, C, H, W), in raster order.

    The values of a patch are in the order (C, size, size), that of the weights of a convolution.

    Raises:
        ValueError: Height or width is not divisible by `size`.
    """
    b, c, height, width = images.shape
    if height % size or width % size:
        raise ValueError(f"images of {height}x{width} cannot be divided into patches of {size}x{size}")
    h, w = height // size, width // size
    patches = images.reshape(b, c, h, size, w, size).permute(0, 2, 4, 1, 3, 5)  # (B, h, w, C, size, size)
    return patches.reshape(b, h * w, c * size * size)


def unpatchify(patches: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Return the images (B, C, h * size, w * size) of all patches (B, h * w, C * size * size) of a grid (h, w)."""
    h, w = grid
    parts = patches.reshape(len(patches), h, w, -1, size, size).permute(0, 3, 1, 4, 2, 5)  # (B, C, h, size, w, size)
    return parts.reshape(len(patches), -1, h * size, w * size)


def take_rows(x: Tensor, ids: Tensor) -> Tensor:
    """Return the rows (B, n, D) of x (B, N, D) at `ids` (B, n) int64, for each sample its own."""
    b, count, dim = x.shape
    first = torch.arange(0, b * count, count, device=ids.device)[:, None]
    return x.reshape(b * count, dim).index_select(0, (ids + first).flatten()).view(b, -1, dim)
