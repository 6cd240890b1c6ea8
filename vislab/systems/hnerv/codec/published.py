"""The published compression of HNeRV as a baseline: pruning, 8-bit weights, 6-bit embeddings, one Huffman table.

Quantization and coding follow section 3.4 of the paper and the published stream of the Bunny clip. Bytes include the
code table, which the published sizes leave out.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, DataError

SIDE_SHARE = 0.02
"""Largest number of minima per element for which a tensor may have its own minimum and scale along an axis."""
PER_TENSOR = 255


@dataclass(frozen=True, eq=False)
class MinMax:
    """A tensor of b-bit integers: value = minimum + scale * symbol.

    Args:
        symbols: uint8 of the tensor's shape.
        minimum: float32 () for one range per tensor, else float16 with size 1 along `axis`.
        scale: Like `minimum`.
        axis: Axis over which the ranges were taken, or PER_TENSOR.
    """

    symbols: np.ndarray
    minimum: np.ndarray
    scale: np.ndarray
    axis: int

    def values(self) -> np.ndarray:
        """Return the values, float32."""
        return self.minimum.astype(np.float32) + self.scale.astype(np.float32) * self.symbols.astype(np.float32)


def quantize(values: np.ndarray, bits: int) -> MinMax:
    """Return float32 `values` with the range, per tensor or along one axis, that has the least mean absolute error.

    An axis is tried if it has fewer minima than `SIDE_SHARE` of the elements. Ties go to one range per tensor, then to
    the first axis. A constant range gets the smallest scale of float16.
    """
    if not 1 <= bits <= 8:
        raise ConfigError(f"bits={bits}; the published quantization has 1 to 8")
    candidates = [_quantize(values, bits, PER_TENSOR)]
    for axis, length in enumerate(values.shape):
        if length > 1 and 1 / length < SIDE_SHARE:
            candidates.append(_quantize(values, bits, axis))
    return min(candidates, key=lambda one: np.abs(one.values() - values).mean(dtype=np.float64))


def _quantize(values: np.ndarray, bits: int, axis: int) -> MinMax:
    if axis == PER_TENSOR:
        precision, low, high = np.float32, values.min(), values.max()
    else:
        precision = np.float16
        low, high = values.min(axis=axis, keepdims=True), values.max(axis=axis, keepdims=True)
    scale = np.maximum((high - low) / np.float32(2**bits - 1), np.finfo(np.float16).tiny)
    minimum, scale = np.asarray(low, precision), np.asarray(scale, precision)
    symbols = np.rint((values - minimum.astype(np.float32)) / scale.astype(np.float32)).clip(0, 2**bits - 1)
    return MinMax(symbols.astype(np.uint8), minimum, scale, axis)


@dataclass(frozen=True, eq=False)
class PublishedStream:
    """Network and embeddings as the published code quantizes them.

    Args:
        weights: Weights by name.
        embeddings: Embeddings (T, d, h, w); None for NeRV, which has none.
    """

    weights: Mapping[str, MinMax]
    embeddings: MinMax | None

    @classmethod
    def of(
        cls, decoder: nn.Module, embeddings: Tensor | None, *, weight_bits: int = 8, embedding_bits: int = 6
    ) -> "PublishedStream":
        """Quantize a trained decoder, biases included, and embeddings (T, d, h, w)."""
        arrays = {name: tensor.detach().float().cpu().numpy() for name, tensor in decoder.state_dict().items()}
        weights = {name: quantize(array, weight_bits) for name, array in arrays.items()}
        if embeddings is None:
            return cls(weights, None)
        return cls(weights, quantize(embeddings.detach().float().cpu().numpy(), embedding_bits))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the decoder, float32."""
        return {name: torch.from_numpy(tensor.values()) for name, tensor in self.weights.items()}

    def pack(self) -> bytes:
        """Return everything that a decoder needs beside the architecture and the number of frames.

        Per tensor one byte for the axis, then minima and scales; 256 bytes with the code lengths; the Huffman codes of
        all symbols.
        """
        tensors = [*self.weights.values(), *([] if self.embeddings is None else [self.embeddings])]
        side = b"".join(bytes([t.axis]) + t.minimum.tobytes() + t.scale.tobytes() for t in tensors)
        symbols = np.concatenate([t.symbols.ravel() for t in tensors])
        lengths = code_lengths(np.bincount(symbols, minlength=256))
        return side + lengths.tobytes() + huffman_encode(symbols, lengths)

    @classmethod
    def unpack(
        cls, data: bytes, shapes: Mapping[str, Sequence[int]], embedding_shape: Sequence[int] | None
    ) -> "PublishedStream":
        """Read the bytes of `pack` for weights of the given shapes, in their order."""
        heads, position = [], 0
        for shape in (*shapes.values(), *([] if embedding_shape is None else [embedding_shape])):
            axis = data[position]
            ranges = () if axis == PER_TENSOR else tuple(1 if i == axis else n for i, n in enumerate(shape))
            precision = np.dtype(np.float32 if axis == PER_TENSOR else np.float16)
            size = int(np.prod(ranges)) * precision.itemsize
            pair = np.frombuffer(data, precision, 2 * size // precision.itemsize, position + 1).reshape(2, *ranges)
            heads.append((tuple(shape), axis, *pair))
            position += 1 + 2 * size
        lengths = np.frombuffer(data, np.uint8, 256, position)
        count = sum(int(np.prod(shape)) for shape, *_ in heads)
        symbols = huffman_decode(data[position + 256 :], lengths, count)
        parts = np.split(symbols, np.cumsum([np.prod(shape) for shape, *_ in heads], dtype=int)[:-1])
        tensors = [
            MinMax(part.reshape(shape), minimum, scale, axis)
            for part, (shape, axis, minimum, scale) in zip(parts, heads, strict=True)
        ]
        last = None if embedding_shape is None else tensors.pop()
        return cls(dict(zip(shapes, tensors, strict=True)), last)


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the lengths of the Huffman codes, (n,) uint8; 0 for symbols that do not occur."""
    heap = [(int(count), i, (i,)) for i, count in enumerate(counts) if count]
    lengths = np.zeros(len(counts), np.uint8)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, number, left), (other, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[[*left, *right]] += 1
        heapq.heappush(heap, (one + other, number, left + right))
    return lengths


def _canonical_codes(lengths: np.ndarray) -> list[int]:
    """Return the code of each symbol: in order of length, then of symbol, each code is the one before plus one."""
    codes, code, last = [0] * len(lengths), -1, 0
    for symbol in np.argsort(lengths, kind="stable"):
        length = int(lengths[symbol])
        if length:
            code = (code + 1) << (length - last)
            codes[symbol], last = code, length
    return codes


def huffman_encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Return the canonical codes of symbols (n,) one after the other, high bits first, padded to whole bytes."""
    codes, longest = np.array(_canonical_codes(lengths), np.uint64), int(lengths.max())
    table = (codes[:, None] >> np.arange(longest, dtype=np.uint64)[::-1] & np.uint64(1)).astype(
        np.uint8
    )  # right-aligned
    used = np.arange(longest)[None] >= longest - lengths[:, None].astype(int)  # (256, longest)
    return np.packbits(table[symbols][used[symbols]]).tobytes()


def huffman_decode(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` symbols of `huffman_encode`, uint8.

    Raises:
        DataError: The data end early or contain an unknown code.
    """
    codes = {(int(n), code): s for s, (n, code) in enumerate(zip(lengths, _canonical_codes(lengths), strict=True)) if n}
    symbols, length, code, longest = bytearray(), 0, 0, int(lengths.max())
    for bit in np.unpackbits(np.frombuffer(data, np.uint8)).tolist():
        if len(symbols) == count:
            break
        length, code = length + 1, code << 1 | bit
        if (length, code) in codes:
            symbols.append(codes[length, code])
            length = code = 0
        elif length >= longest:
            raise DataError("a Huffman stream contains an unknown code")
    if len(symbols) < count:
        raise DataError(f"a Huffman stream has {len(symbols)} of {count} symbols")
    return np.frombuffer(bytes(symbols), np.uint8)


def prune(decoder: nn.Module, share: float) -> dict[str, Tensor]:
    """Set the smallest `share` of all weights of the decoder, biases excluded, to zero; return name -> kept (bool).

    `train_pruned` keeps them at zero while the others are fine-tuned.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share={share!r} of pruned weights is not in [0, 1)")
    weights = {name: p for name, p in decoder.named_parameters() if p.ndim > 1}
    sizes = torch.cat([p.detach().abs().flatten() for p in weights.values()])
    count = round(share * len(sizes))
    if count == 0:
        return {name: torch.ones_like(p, dtype=torch.bool) for name, p in weights.items()}
    threshold = sizes.kthvalue(count).values
    kept = {name: p.detach().abs() > threshold for name, p in weights.items()}
    apply_masks(decoder, kept)
    return kept


@torch.no_grad()
def apply_masks(decoder: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Set weights to zero where `kept` (name -> bool) is False."""
    parameters = dict(decoder.named_parameters())
    for name, mask in kept.items():
        parameters[name].mul_(mask)
