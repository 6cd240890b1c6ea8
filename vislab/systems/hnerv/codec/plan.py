"""Choices before encoding: strides for any frame size, width of the network and bits for a target, segments."""

from dataclasses import dataclass
from math import ceil, log, prod
from typing import Any

from vislab.errors import ConfigError
from vislab.systems.hnerv.codec.spec import MAX_OUTPUT, DecoderSpec
from vislab.systems.hnerv.size import decoder_parameters, solve_width, stage_kernels, stage_widths

_STRIDES = [
    (2,), (3,), (2, 2), (5,), (3, 2), (4, 2), (5, 2), (4, 3), (5, 3), (4, 4), (5, 4), (4, 3, 2), (5, 3, 2), (4, 3, 3),
    (5, 4, 2), (4, 4, 3), (5, 4, 3), (4, 3, 3, 2), (5, 4, 4), (5, 3, 3, 2), (4, 4, 3, 2), (5, 4, 3, 2), (4, 4, 3, 3),
    (5, 4, 4, 2), (5, 4, 3, 3), (5, 4, 3, 2, 2), (5, 4, 4, 2, 2), (5, 4, 3, 3, 2), (5, 4, 4, 3, 2), (5, 4, 3, 3, 3),
]  # fmt: skip
BITS_PER_WEIGHT = 3.5
"""Bits per parameter of the network chosen for a target. Larger networks get fewer epochs in the same time: Bunny at
160x320 in 119 000 bytes has 30.61 dB with 3.5 bits and 30.32 dB with 2.7 bits."""
PARAMETERS_PER_PIXEL = 0.04
"""Parameters of the network per pixel of the segment without a target."""
USUAL_PSNR, PSNR_OF_DOUBLING = 30.0, 2.5
"""PSNR that so many parameters have on Bunny, and the gain when they are doubled (Bunny table of the paper), in dB."""
MIN_PARAMETERS, MAX_PARAMETERS = 20_000, 8_000_000  # the least without a target
EMBED_DIM = 16


@dataclass(frozen=True)
class Target:
    """Size that the file shall have: at most `bytes`, or as many as `psnr` (dB) needs; at most one of them.

    Raises:
        ConfigError: Both are given, or one is not positive.
    """

    bytes: int | None = None
    psnr: float | None = None

    def __post_init__(self) -> None:
        if self.bytes is not None and self.psnr is not None:
            raise ConfigError("give only one of size, bpp and psnr")
        if self.bytes is not None and self.bytes < 1000:
            raise ConfigError(f"a file of {self.bytes} bytes is too small for any video: at least 1000")
        if self.psnr is not None and not 10 <= self.psnr <= 60:
            raise ConfigError(f"psnr={self.psnr:g} dB; expected 10 to 60")


def choose_strides(frame_size: tuple[int, int]) -> tuple[int, ...]:
    """Return strides for frames of (height, width), with about 8 values per embedding channel and little padding."""

    def cost(strides: tuple[int, ...]) -> float:
        scale = prod(strides)
        rows, columns = (ceil(side / scale) for side in frame_size)
        padding = rows * columns * scale**2 / prod(frame_size)
        return log(padding) + 0.25 * abs(log(rows * columns / 8))

    return min(_STRIDES, key=cost)


def choose_network(
    *,
    frame_size: tuple[int, int],
    frames: int,
    strides: tuple[int, ...] | None = None,
    target_bits: float | None = None,
    psnr: float | None = None,
) -> dict[str, Any]:
    """Return arguments of `HNeRV` for a segment.

    Args:
        frame_size: (height, width).
        frames: Number of frames.
        strides: Strides; None: chosen by the frame size.
        target_bits: Bits of the segment; None: as many as the network takes.
        psnr: Quality in dB that the network should allow, without target_bits.

    Raises:
        ConfigError: The target is too small for any network with these strides.
    """
    strides = strides or choose_strides(frame_size)
    parameters = PARAMETERS_PER_PIXEL * frames * prod(frame_size)
    if psnr is not None:
        parameters *= 2 ** ((psnr - USUAL_PSNR) / PSNR_OF_DOUBLING)
    parameters = max(parameters, MIN_PARAMETERS)
    if target_bits is not None:
        parameters = target_bits / BITS_PER_WEIGHT
    parameters = min(parameters, MAX_PARAMETERS)
    for min_width in (12, 6, 3):
        least = decoder_parameters(width=min_width, strides=strides, embed_dim=EMBED_DIM, min_width=min_width)
        if parameters >= least or (target_bits is None and min_width == 3):
            parameters = max(parameters, least)
            width = solve_width(decoder_size=parameters, strides=strides, embed_dim=EMBED_DIM, min_width=min_width)
            width = _limit_width(width, strides, frame_size, min_width)
            return {"strides": strides, "embed_dim": EMBED_DIM, "decoder_width": width, "min_width": min_width}
    raise ConfigError(
        f"{target_bits / 8:.0f} bytes are too few for {frames} frames of {frame_size[0]}x{frame_size[1]} with strides "
        f"{strides}: the smallest network has {least} weights, which take about {least * BITS_PER_WEIGHT / 8:.0f} bytes"
    )


def _limit_width(width: int, strides: tuple[int, ...], frame_size: tuple[int, int], min_width: int) -> int:
    """Return a width of at most `width` whose layers stay within the limit of the format for frames of this size."""
    scale = prod(strides)
    embedding = ceil(frame_size[0] / scale), ceil(frame_size[1] / scale)

    def too_large(width: int) -> bool:
        widths = tuple(stage_widths(width, len(strides), 1.2, min_width))
        spec = DecoderSpec(EMBED_DIM, strides, widths, tuple(stage_kernels(len(strides), (1, 5))))
        return spec.largest_output(embedding) > MAX_OUTPUT

    while too_large(width):
        if width == 1:
            raise ConfigError(f"frames of {frame_size[0]}x{frame_size[1]} are too large for strides {strides}")
        width = max(1, width * 15 // 16)
    return width


def split(frames: int, longest: int) -> list[range]:
    """Return the frames of each segment: as few segments as possible of up to `longest` frames, about equally long."""
    count = ceil(frames / longest)
    bounds = [frames * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
