"""Position encodings of feature maps and patches: of DETR, and the fixed table of vision transformers."""

import math

import torch
from torch import Tensor


def sine_position(
    height: int,
    width: int,
    *,
    dim: int = 128,
    temperature: float = 10000.0,
    scale: float = 2 * math.pi,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the position encoding (height * width, 2 * dim) in float32: `dim` values of y, then `dim` of x.

    Sine and cosine alternate; positions range from scale / size to scale.
    """
    with torch.autocast(torch.device(device).type, enabled=False):
        index = torch.arange(dim, dtype=torch.float32, device=device)
        frequency = temperature ** (2 * (index // 2) / dim)

        def encode(size: int) -> Tensor:
            place = torch.arange(1, size + 1, dtype=torch.float32, device=device)
            angle = (place / (size + 1e-6) * scale)[:, None] / frequency  # (size, dim)
            return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

        y = encode(height)[:, None].expand(height, width, dim)
        x = encode(width)[None].expand(height, width, dim)
        return torch.cat((y, x), dim=2).flatten(0, 1)


def sincos_table(height: int, width: int, *, dim: int, temperature: float = 10000.0) -> Tensor:
    """Return the fixed positions (height * width, dim) of a grid in raster order, float32.

    The quarters of a row are sin(y f), cos(y f), sin(x f), cos(x f) of the row y and the column x, with the frequencies
    f_k = temperature ** (-4 k / dim): the layout of MoCo v3, BEiT's successors and CAE. MAE has x first.

    Raises:
        ValueError: `dim` is not divisible by 4.
    """
    if dim % 4:
        raise ValueError(f"dim={dim} is not divisible by 4, as two-dimensional sine positions need")
    frequency = 1.0 / temperature ** (torch.arange(dim // 4, dtype=torch.float32) / (dim // 4))
    y = torch.arange(height, dtype=torch.float32).repeat_interleave(width)[:, None] * frequency  # (h * w, dim / 4)
    x = torch.arange(width, dtype=torch.float32).repeat(height)[:, None] * frequency
    return torch.cat((y.sin(), y.cos(), x.sin(), x.cos()), dim=1)


def pixel_centers(shapes: tuple[tuple[int, int], ...], *, device: torch.device | str = "cpu") -> Tensor:
    """Return the pixel centers (S, 2) of maps of these (height, width), concatenated: x, y in [0, 1], float32."""
    levels = []
    for h, w in shapes:
        y = (torch.arange(h, dtype=torch.float32, device=device) + 0.5) / h
        x = (torch.arange(w, dtype=torch.float32, device=device) + 0.5) / w
        levels.append(torch.stack((x.repeat(h), y.repeat_interleave(w)), dim=1))
    return torch.cat(levels)
