"""Position encodings of feature maps, boxes and patches: of DETR, and the fixed table of vision transformers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Shapes = Sequence[tuple[int, int]]


def sine_divisors(
    dim: int, temperature: float = 10000.0, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the divisors (dim,) of the angles in `encode_sine`: each of the `dim` / 2 wavelengths twice."""
    index = torch.arange(dim, dtype=dtype, device=device)
    return temperature ** (2 * (index // 2) / dim)


def encode_sine(angles: Tensor, divisors: Tensor) -> Tensor:
    """Return sine and cosine, alternating, of angles (...) at the frequencies of `sine_divisors`: (..., dim)."""
    angles = angles[..., None] / divisors
    return torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_position(
    height: int,
    width: int,
    *,
    dim: int = 128,
    temperature: float = 10000.0,
    scale: float = 2 * math.pi,
    offset: float = 0.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    valid: Tensor | None = None,
) -> Tensor:
    """Return the position encoding (height * width, 2 * dim): `dim` values of y, then `dim` of x.

    Sine and cosine alternate; positions range from (1 + offset) * scale / size to (size + offset) * scale / size.

    Args:
        height, width: Size of the map.
        dim: Number of values per axis.
        temperature: Ratio of the longest and the shortest wavelength.
        scale: Angle of a position at the end of an axis.
        offset: Added to positions 1, 2, ..., size; -0.5 for pixel centers.
        device: Device of the encoding.
        dtype: float32 or float64.
        valid: (B, 2) int64, height and width without padding per image, which are used instead of the size; the result
            is (B, height * width, 2 * dim).
    """
    with torch.autocast(torch.device(device).type, enabled=False):
        divisors = sine_divisors(dim, temperature, device=device, dtype=dtype)

        def encode(size: int, end: Tensor | None) -> Tensor:
            place = torch.arange(1, size + 1, dtype=dtype, device=device)
            if end is None:
                return encode_sine((place + offset) / (size + 1e-6) * scale, divisors)
            end = end[:, None].to(dtype)
            return encode_sine((place.minimum(end) + offset) / (end + 1e-6) * scale, divisors)

        rows, columns = (None, None) if valid is None else valid.unbind(1)
        y, x = encode(height, rows)[..., None, :], encode(width, columns)[..., None, :, :]
        shape = (*y.shape[:-3], height, width, dim)
        return torch.cat((y.expand(shape), x.expand(shape)), dim=-1).flatten(-3, -2)


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


def pixel_centers(shapes: Shapes, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the pixel centers (S, 2) of maps of these (height, width), concatenated: x, y in [0, 1]."""
    levels = []
    for h, w in shapes:
        y = (torch.arange(h, dtype=dtype, device=device) + 0.5) / h
        x = (torch.arange(w, dtype=dtype, device=device) + 0.5) / w
        levels.append(torch.stack((x.repeat(h), y.repeat_interleave(w)), dim=1))
    return torch.cat(levels)
