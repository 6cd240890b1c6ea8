"""How large an HNeRV is: exact parameter counts, and the decoder width that meets a size (paper section 3.2).

Symbols: c2 decoder width after the first convolution, d embedding channels, s_i strides, k_i kernels, r reduction.
A video's stored size is its decoder's parameters plus d * (H / S) * (W / S) embedding values a frame, S = prod(s_i);
the encoder is needed only to make the embeddings and is not counted.
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
"""Strides for a frame size (height, width); each leaves a 2 x 4 embedding. The last three are the paper's."""

PUBLISHED_WIDTHS = {
    ((640, 1280), 0.35e6): 32,
    ((640, 1280), 0.75e6): 48,
    ((640, 1280), 1.5e6): 68,
    ((640, 1280), 3e6): 97,
    ((480, 960), 3e6): 110,
    ((960, 1920), 3e6): 92,
}
"""Decoder width of the paper's models, by frame size and target size; the configs carry these numbers."""


def stage_kernels(stages: int, kernel: tuple[int, int]) -> list[int]:
    """Kernel size of each decoder stage: grows by 2 a stage from kernel[0] to at most kernel[1]."""
    smallest, largest = kernel
    return [min(smallest + 2 * i, largest) for i in range(stages)]


def stage_widths(width: int, stages: int, reduction: float, min_width: int) -> list[int]:
    """Channels entering each stage, and leaving the last: the former ones / reduction, at least min_width."""
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
    """Weights and biases of the decoder: first 1x1 convolution, one convolution a stage, 3x3 convolution to RGB."""
    widths = stage_widths(width, len(strides), reduction, min_width)
    count = (embed_dim + 1) * width
    for i, (stride, k) in enumerate(zip(strides, stage_kernels(len(strides), kernel), strict=True)):
        count += (k * k * widths[i] + 1) * widths[i + 1] * stride**2
    return count + (9 * widths[-1] + 1) * 3


def embedding_size(frame_size: tuple[int, int], strides: Sequence[int]) -> tuple[int, int]:
    """Height and width of a frame's embedding.

    Raises:
        ConfigError: the product of the strides divides height or width with a remainder.
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
    """Number of embedding values stored for a whole video."""
    height, width = embedding_size(frame_size, strides)
    return num_frames * embed_dim * height * width


def embed_dim_for_share(share: float, target_size: float, num_frames: int, embedding: tuple[int, int]) -> int:
    """Embedding channels that spend `share` (0..1) of the size on embeddings of (height, width) `embedding`."""
    return max(1, int(share * target_size / (num_frames * embedding[0] * embedding[1])))


def solve_width(*, decoder_size: float, **architecture) -> int:
    """The widest decoder with at most `decoder_size` parameters, found by bisection on the exact count.

    Args:
        decoder_size: parameters to spend on the decoder, i.e. the target size less the embedding values.
        architecture: strides, embed_dim, reduction, min_width, kernel, as in `decoder_parameters`.

    Raises:
        ConfigError: not even a decoder of width 1 fits.
    """
    smallest = decoder_parameters(width=1, **architecture)
    if smallest > decoder_size:
        raise ConfigError(
            f"a decoder with strides {tuple(architecture['strides'])} has at least {smallest} parameters, but "
            f"{decoder_size:.0f} are left for it. Raise target_size, or lower min_width, kernel or embed_dim."
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
    """The width by the rule behind the paper's models: the root of a * c2^2 + b * c2 = target - embeddings, floored.

    The rule leaves out biases, the RGB layer and the minimum width, and counts the first convolution as 3x3, so real
    sizes differ from the target by some percent; `solve_width` is exact. Kept to reproduce published widths.
    """
    budget = target_size - embedding_values(
        num_frames=num_frames, frame_size=frame_size, strides=strides, embed_dim=embed_dim
    )
    kernels = stage_kernels(len(strides), kernel)
    a = sum((s * k / reduction**i) ** 2 for i, (s, k) in enumerate(zip(strides, kernels, strict=True))) / reduction
    b = 9 * embed_dim
    return int((sqrt(b * b + 4 * a * budget) - b) / (2 * a))
