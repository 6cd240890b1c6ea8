"""Parameter counts of HNeRV, and the decoder width for a target size (paper section 3.2).

Symbols: c2 decoder width after the first convolution, d embedding channels, s_i strides, k_i kernels, r reduction.
The size of a video is the number of decoder parameters plus d * (H / S) * (W / S) embedding values per frame, S =
prod(s_i). The encoder is not stored and not counted.
"""

from collections.abc import Sequence
from math import prod, sqrt

from vislab.errors import ConfigError

STRIDES = {
    (160, 320): (5, 4, 4),
    (320, 640): (5, 4, 4, 2),
    (480, 960): (5, 4, 3, 2, 2),
    (640, 1280): (5, 4, 4, 2, 2),
    (960, 1920): (5, 4, 4, 3, 2),
}
"""Strides by frame size (height, width), for 2 x 4 embeddings. The last three are those of the paper."""

PUBLISHED_WIDTHS = {
    ((640, 1280), 0.35e6): 32,
    ((640, 1280), 0.75e6): 48,
    ((640, 1280), 1.5e6): 68,
    ((640, 1280), 3e6): 97,
    ((480, 960), 3e6): 110,
    ((960, 1920), 3e6): 92,
}
"""Decoder widths of the paper's models, by frame size and target size."""


def stage_kernels(stages: int, kernel: tuple[int, int]) -> list[int]:
    """Return the kernel size of each decoder stage, increasing by 2 per stage from kernel[0] to at most kernel[1]."""
    smallest, largest = kernel
    return [min(smallest + 2 * i, largest) for i in range(stages)]


def stage_widths(width: int, stages: int, reduction: float, min_width: int) -> list[int]:
    """Return the input channels of each stage and the output channels of the last one, stages + 1 numbers."""
    widths = [width]
    for _ in range(stages):
        widths.append(max(round(widths[-1] / reduction), min_width))
    return widths


def decoder_parameters(
    *,
    width: int,
    strides: Sequence[int],
    embed_dim: int = 16,
    reduction: float = 1.2,
    min_width: int = 12,
    kernel: tuple[int, int] = (1, 5),
) -> int:
    """Return the number of decoder parameters: 1x1 convolution, one convolution per stage, 3x3 convolution to RGB."""
    widths = stage_widths(width, len(strides), reduction, min_width)
    count = (embed_dim + 1) * width
    for i, (stride, k) in enumerate(zip(strides, stage_kernels(len(strides), kernel), strict=True)):
        count += (k * k * widths[i] + 1) * widths[i + 1] * stride**2
    return count + (9 * widths[-1] + 1) * 3


def embedding_size(frame_size: tuple[int, int], strides: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of the embedding of a frame.

    Raises:
        ConfigError: Height or width is not divisible by the product of the strides.
    """
    total = prod(strides)
    height, width = frame_size
    if height % total or width % total:
        raise ConfigError(
            f"frames of {height}x{width} cannot be divided by the strides {tuple(strides)} (product {total}). "
            f"Crop or resize them to multiples of {total}, e.g. "
            f"{max(total, height // total * total)}x{max(total, width // total * total)}, or choose other strides."
        )
    return height // total, width // total


def embedding_values(
    *, num_frames: int, frame_size: tuple[int, int], strides: Sequence[int], embed_dim: int = 16
) -> int:
    """Return the number of embedding values of a video."""
    height, width = embedding_size(frame_size, strides)
    return num_frames * embed_dim * height * width


def embed_dim_for_share(share: float, target_size: float, num_frames: int, embedding: tuple[int, int]) -> int:
    """Return the channels for which embeddings of size `embedding` (h, w) are a fraction `share` of the size."""
    return max(1, int(share * target_size / (num_frames * embedding[0] * embedding[1])))


def solve_width(*, decoder_size: float, **architecture) -> int:
    """Return the largest decoder width with at most `decoder_size` parameters, by bisection.

    Args:
        decoder_size: Maximum number of decoder parameters, the target size minus the embedding values.
        architecture: Strides, embed_dim, reduction, min_width, kernel, as in `decoder_parameters`.

    Raises:
        ConfigError: A decoder of width 1 is too large.
    """
    smallest = decoder_parameters(width=1, **architecture)
    if smallest > decoder_size:
        raise ConfigError(
            f"a decoder with strides {tuple(architecture['strides'])} has at least {smallest} parameters, but "
            f"{decoder_size:.0f} are available. Increase target_size, or lower min_width, kernel or embed_dim."
        )
    low, high = 1, 2  # low fits
    while decoder_parameters(width=high, **architecture) <= decoder_size:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if decoder_parameters(width=middle, **architecture) <= decoder_size:
            low = middle
        else:
            high = middle
    return low


def published_width(
    *,
    target_size: float,
    num_frames: int,
    frame_size: tuple[int, int],
    strides: Sequence[int],
    embed_dim: int = 16,
    reduction: float = 1.2,
    kernel: tuple[int, int] = (1, 5),
) -> int:
    """Return the width of the paper's models: the root of a * c2^2 + b * c2 = target - embeddings, rounded down.

    This rule ignores biases, the RGB layer and the minimum width, and counts the first convolution as 3x3, so actual
    sizes differ from the target by a few percent; `solve_width` is exact. Used to reproduce the published widths.
    """
    budget = target_size - embedding_values(
        num_frames=num_frames, frame_size=frame_size, strides=strides, embed_dim=embed_dim
    )
    kernels = stage_kernels(len(strides), kernel)
    a = sum((s * k / reduction**i) ** 2 for i, (s, k) in enumerate(zip(strides, kernels, strict=True))) / reduction
    b = 9 * embed_dim
    return int((sqrt(b * b + 4 * a * budget) - b) / (2 * a))
