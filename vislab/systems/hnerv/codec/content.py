"""Plain data that a .hnv file holds: integers with steps for weights and embeddings, and facts about the video.

`from_network` quantizes a trained network with as many bits as asked; training with quantization makes the same
objects from steps that it has learned. `container.py` writes them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from vislab.errors import ConfigError, DataError
from vislab.systems.hnerv.codec.spec import DecoderSpec
from vislab.systems.hnerv.model import HNeRVDecoder

SYMBOL_LIMIT = 1 << 15
"""Symbols are in [-SYMBOL_LIMIT, SYMBOL_LIMIT)."""
MAX_SIDE = 1 << 14
MAX_PIXELS = 1 << 25
MAX_FRAMES = 1 << 20
"""Limits of the format on frame sizes, and on the frames of a segment."""
_HALF = np.finfo(np.float16)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A tensor as integers: value = offset + step * symbol, computed in float32 with one rounding per operation.

    Args:
        symbols: int32 of the tensor's shape.
        step: float16 or float32, as many dimensions as `symbols` with sizes 1 or full; or a scalar array ().
        offset: Like `step`; None is 0.

    Raises:
        DataError: Symbols outside the limits, or steps that are not positive, finite, and of a fitting shape.
    """

    symbols: np.ndarray
    step: np.ndarray
    offset: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.symbols.dtype != np.int32:
            raise DataError(f"symbols are {self.symbols.dtype}, not int32")
        if self.symbols.size and not -SYMBOL_LIMIT <= self.symbols.min() <= self.symbols.max() < SYMBOL_LIMIT:
            raise DataError(
                f"symbols from {self.symbols.min()} to {self.symbols.max()} are outside +-{SYMBOL_LIMIT}: the step is "
                "too small for the values"
            )
        for name, array in (("step", self.step), ("offset", self.offset)):
            if array is None:
                continue
            fits = array.shape == () or (
                array.ndim == self.symbols.ndim
                and all(a in (1, b) for a, b in zip(array.shape, self.symbols.shape, strict=True))
            )
            if array.dtype not in (np.float16, np.float32) or not fits or not np.isfinite(array).all():
                raise DataError(
                    f"the {name} is {array.dtype} {array.shape}; expected finite float16 or float32 that fit symbols "
                    f"{self.symbols.shape}"
                )
        if not (self.step > 0).all():
            raise DataError(f"a step of {self.step.min()} is not positive")

    @classmethod
    def of(cls, values: np.ndarray, step: np.ndarray, offset: np.ndarray | None = None) -> "Quantized":
        """Return values (float) rounded to the nearest step; step and offset are first rounded to stored precision."""
        step = stored(step)
        offset = None if offset is None else stored(offset)
        base = np.float32(0) if offset is None else offset.astype(np.float32)
        symbols = np.rint((values.astype(np.float32) - base) / step.astype(np.float32))
        return cls(np.clip(symbols, -1 << 30, 1 << 30).astype(np.int32), step, offset)

    def values(self) -> np.ndarray:
        """Return the values, float32."""
        values = self.symbols.astype(np.float32) * self.step.astype(np.float32)
        return values if self.offset is None else values + self.offset.astype(np.float32)


def stored(array: np.ndarray) -> np.ndarray:
    """Return numbers in the precision of the file: float16 if all are zero or in its normal range, else float32."""
    array = np.asarray(array, np.float32)
    sizes = np.abs(array[array != 0])
    half = sizes.size == 0 or (sizes.min() >= _HALF.tiny and sizes.max() <= _HALF.max)
    return array.astype(np.float16 if half else np.float32)


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive frames of a video with one network.

    Args:
        spec: The network.
        weights: Weights by name, with the names and shapes of `spec.weight_shapes()`.
        embeddings: Of shape (T, d, h, w).
        section: Number of frames whose embeddings are coded together; a single frame is read by decoding its section.
        residual: The weights are to be added to those of the segment before; False for a segment that stands alone.
        times: Time of each frame in units of `VideoInfo.base`, increasing. None: at regular intervals after the
            segment before.

    Raises:
        DataError: Shapes do not agree, or times do not increase.
    """

    spec: DecoderSpec
    weights: Mapping[str, Quantized]
    embeddings: Quantized
    section: int = 64
    residual: bool = False
    times: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        shapes = {name: tensor.symbols.shape for name, tensor in self.weights.items()}
        if shapes != self.spec.weight_shapes():
            raise DataError(f"weights {shapes} do not fit the network {self.spec}")
        shape = self.embeddings.symbols.shape
        if len(shape) != 4 or shape[0] == 0 or shape[1] != self.spec.embed_dim:
            raise DataError(f"embeddings {shape} do not fit (frames, {self.spec.embed_dim}, height, width)")
        if any(a is not None and a.ndim and a.shape[0] > 1 for a in (self.embeddings.step, self.embeddings.offset)):
            raise DataError("steps and offsets of embeddings cannot differ between frames")
        if not 1 <= self.section <= MAX_FRAMES or shape[0] > MAX_FRAMES:
            raise DataError(f"{shape[0]} frames in sections of {self.section}; expected 1 to {MAX_FRAMES}")
        if self.times is not None and (
            len(self.times) != shape[0] or any(b <= a for a, b in zip(self.times, self.times[1:], strict=False))
        ):
            raise DataError(f"{len(self.times)} times for {shape[0]} frames; expected one for each, increasing")

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.embeddings.symbols)


@dataclass(frozen=True)
class VideoInfo:
    """Facts about the whole video.

    Args:
        size: (height, width) of the frames before they are padded to multiples of the network's scale.
        base: Unit of frame times in seconds.
        interval: Regular distance of frames in units.
        matrix: Coefficients for conversion of the RGB frames to YCbCr, a code of ITU-T H.273 (1 is BT.709, 5 and 6
            are BT.601, 2 is unspecified).

    Raises:
        DataError: A number is outside the limits of the format.
    """

    size: tuple[int, int]
    base: Fraction = Fraction(1, 25)
    interval: int = 1
    matrix: int = 2

    def __post_init__(self) -> None:
        height, width = self.size
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_PIXELS):
            raise DataError(f"frames of {height}x{width}; expected sides to {MAX_SIDE} and to {MAX_PIXELS} pixels")
        if not (self.base > 0 and 1 <= self.interval < 1 << 31 and 0 <= self.matrix <= 255):
            raise DataError(f"base={self.base}, interval={self.interval}, matrix={self.matrix} are invalid")

    @property
    def rate(self) -> Fraction:
        """Frames per second of a regular video."""
        return 1 / (self.base * self.interval)


def dequantize(weights: Mapping[str, Quantized]) -> dict[str, Tensor]:
    """Return the decoder's state dict, float32."""
    return {name: torch.from_numpy(tensor.values()) for name, tensor in weights.items()}


def from_network(
    decoder: HNeRVDecoder,
    embeddings: Tensor,
    *,
    weight_bits: int = 8,
    bias_bits: int = 8,
    embedding_bits: int = 8,
    section: int = 64,
) -> Segment:
    """Return a trained network quantized without further training.

    Weights have one step per tensor and no offset, so that zero is exact; embeddings have a step and an offset per
    channel.

    Args:
        decoder: The trained decoder.
        embeddings: Embeddings of all frames (T, d, h, w).
        weight_bits: Bits per weight, 2 to 16; the levels are -(2^(b-1) - 1) to 2^(b-1) - 1.
        bias_bits: Bits per bias.
        embedding_bits: Bits per embedding value.
        section: Frames per section of embeddings.

    Raises:
        ConfigError: A number of bits outside 2 to 16.
        DataError: Weights or embeddings are not finite.
    """
    for name, bits in (("weight_bits", weight_bits), ("bias_bits", bias_bits), ("embedding_bits", embedding_bits)):
        if not 2 <= bits <= 15:
            raise ConfigError(f"{name}={bits}; choose 2 to 15")
    weights = {
        name: _symmetric(array, bias_bits if array.ndim == 1 else weight_bits)
        for name, array in _arrays(decoder.state_dict().items())
    }
    ((_, values),) = _arrays([("embeddings", embeddings)])
    low = values.min(axis=(0, 2, 3), keepdims=True)  # (1, d, 1, 1)
    extent = values.max(axis=(0, 2, 3), keepdims=True) - low
    step = np.maximum(extent / (2**embedding_bits - 1), np.float32(1e-6))
    return Segment(DecoderSpec.of(decoder), weights, Quantized.of(values, step, low), section)


def _symmetric(values: np.ndarray, bits: int) -> Quantized:
    step = np.abs(values).max() / (2 ** (bits - 1) - 1)
    return Quantized.of(values, np.asarray(max(step, np.float32(1e-6))))


def _arrays(tensors: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, np.ndarray]]:
    for name, tensor in tensors:
        array = tensor.detach().float().cpu().contiguous().numpy()
        if not np.isfinite(array).all():
            raise DataError(f"{name} contains NaN or infinite values: training diverged; take an earlier checkpoint")
        yield name, array
