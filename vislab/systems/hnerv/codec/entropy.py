"""Entropy models of the symbols of one tensor, the shortest of which is stored with it, and the coder.

A model costs some bytes in the file (`pack`) and gives frequency tables (`tables`) computed from them. `fit_model`
compares the exact sums of both.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import constriction
import numpy as np

from vislab.errors import DataError
from vislab.systems.hnerv.codec.content import SYMBOL_LIMIT
from vislab.systems.hnerv.codec.numbers import Reader, signed, varint
from vislab.systems.hnerv.codec.tables import (
    MAX_LEVELS,
    Table,
    from_codes,
    laplace_weights,
    make_table,
    shape_weights,
    to_codes,
)

UNIFORM, COUNTS, SHAPE, LAPLACE = range(4)
NO_AXIS = 15


@dataclass(frozen=True)
class Model:
    """Entropy model: kind, range of symbols, and the parameters of the kind.

    Args:
        kind: UNIFORM; COUNTS: a frequency per symbol; SHAPE: see `shape_weights`; LAPLACE: see `laplace_weights`.
        first: Smallest symbol.
        levels: Number of symbols; 1 is a constant, for which nothing is coded.
        center: Level of the center, for SHAPE and LAPLACE.
        numbers: (zero, ratio, curve) of SHAPE; codes of the frequencies of COUNTS, or of the scales of LAPLACE.
        axis: Axis of the tensor along which the tables of LAPLACE differ, or NO_AXIS for one table.

    Raises:
        DataError: A number is out of range.
    """

    kind: int
    first: int
    levels: int
    center: int = 0
    numbers: tuple[int, ...] = ()
    axis: int = NO_AXIS

    def __post_init__(self) -> None:
        valid = (
            self.kind in (UNIFORM, COUNTS, SHAPE, LAPLACE)
            and 1 <= self.levels <= MAX_LEVELS
            and -SYMBOL_LIMIT <= self.first <= SYMBOL_LIMIT - self.levels
            and 0 <= self.center < self.levels
            and (self.kind != SHAPE or self.numbers[0] > 0)
            and (self.kind != COUNTS or any(self.numbers))
        )
        if not valid:
            raise DataError(f"the entropy model {self} is invalid")

    def pack(self) -> bytes:
        """Return the bytes of the model in the file."""
        head = bytes([self.kind << 4 | self.axis]) + signed(self.first) + varint(self.levels - 1)
        if self.kind == UNIFORM:
            return head
        if self.kind == COUNTS:
            return head + bytes(self.numbers)
        center = varint(self.center)
        return head + center + (struct.pack("<3H", *self.numbers) if self.kind == SHAPE else bytes(self.numbers))

    @classmethod
    def unpack(cls, reader: Reader, shape: Sequence[int]) -> "Model":
        """Read a model for a tensor of `shape`.

        Raises:
            DataError: Not a model, or one for tensors with fewer axes.
        """
        code = reader.byte()
        kind, axis = code >> 4, code & 15
        if axis != NO_AXIS and (kind != LAPLACE or axis >= len(shape)):
            raise DataError(f"entropy model {kind} has axis {axis} for a tensor of shape {tuple(shape)}")
        first, levels = reader.signed(), reader.varint(MAX_LEVELS) + 1
        if kind == COUNTS:
            return cls(kind, first, levels, numbers=tuple(reader.take(levels)))
        if kind == SHAPE:
            return cls(kind, first, levels, reader.varint(MAX_LEVELS), struct.unpack("<3H", reader.take(6)))
        if kind == LAPLACE:
            center = reader.varint(MAX_LEVELS)
            codes = tuple(reader.take(1 if axis == NO_AXIS else shape[axis]))
            return cls(kind, first, levels, center, codes, axis)
        return cls(kind, first, levels)

    @cached_property
    def tables(self) -> list[Table]:
        """The table of each group of symbols; one if there is no axis."""
        if self.kind == UNIFORM:
            weights = [np.ones(self.levels, np.int64)]
        elif self.kind == COUNTS:
            weights = [from_codes(np.asarray(self.numbers, np.uint8))]
        elif self.kind == SHAPE:
            weights = [shape_weights(self.levels, self.center, *self.numbers)]
        else:
            weights = [laplace_weights(self.levels, self.center, code) for code in self.numbers]
        return [make_table(self.first, w) for w in weights]

    def groups(self, shape: Sequence[int]) -> list[tuple[slice | int, ...]]:
        """Return the indices of the parts of a tensor that share a table, in the order in which they are coded."""
        if self.axis == NO_AXIS:
            return [(...,)]
        return [(*(slice(None),) * self.axis, i) for i in range(shape[self.axis])]

    def bits(self, symbols: np.ndarray) -> float:
        """Return the bits of the symbols, without the model's own bytes; within 64 bits of what the coder writes."""
        groups = self.groups(symbols.shape)
        return sum(table.bits(symbols[group]) for table, group in zip(self.tables, groups, strict=True))

    def least_bits(self, shape: Sequence[int]) -> float:
        """Return the fewest bits that any symbols of a tensor can have."""
        count = int(np.prod(shape))
        return sum(table.costs.min() * (count // len(self.tables)) for table in self.tables)


def fit_model(symbols: np.ndarray, axes: Sequence[int] = ()) -> Model:
    """Return the model with the fewest bits for a tensor of symbols, its own bytes included.

    Args:
        symbols: int32, not empty.
        axes: Axes along which scales may differ.

    Raises:
        DataError: More different symbols than a table may have.
    """
    first, last = int(symbols.min()), int(symbols.max())
    if last - first >= MAX_LEVELS:
        raise DataError(f"symbols from {first} to {last} need more than {MAX_LEVELS} levels: use a larger step")
    levels = last - first + 1
    uniform = Model(UNIFORM, first, levels)
    if levels == 1:
        return uniform
    counts = np.bincount(symbols.ravel() - first, minlength=levels)
    candidates = [uniform, Model(COUNTS, first, levels, numbers=_count_codes(counts))]
    centers = {int(counts.argmax()), round(float((counts * np.arange(levels)).sum() / symbols.size))}
    for center in sorted(centers):
        candidates += [_fit_shape(counts, first, center), _fit_laplace(symbols, first, levels, center, NO_AXIS)]
        candidates += [_fit_laplace(symbols, first, levels, center, axis) for axis in axes]

    def length(model: Model) -> float:
        bits = counts @ model.tables[0].costs if model.axis == NO_AXIS else model.bits(symbols)
        return 8 * len(model.pack()) + float(bits)

    return min(candidates, key=length)


def _count_codes(counts: np.ndarray) -> tuple[int, ...]:
    return tuple(to_codes(counts * (200_000 / counts.max())).tolist())


def _fit_laplace(symbols: np.ndarray, first: int, levels: int, center: int, axis: int) -> Model:
    """Return the model of kind LAPLACE with the scale of each group near its mean distance from the center."""
    distances = np.abs(symbols - (first + center))
    mean = distances.mean() if axis == NO_AXIS else distances.mean(axis=tuple({*range(symbols.ndim)} - {axis}))
    means = np.atleast_1d(mean) + 1e-3
    # the mean distance m of the quantized distribution with s = exp(-1 / (2 b)): m = s / (1 - s^2)
    s = (np.sqrt(1 + 4 * means**2) - 1) / (2 * means)
    codes = to_codes(np.clip((1 - s) * 65536, 1, 65535))
    return Model(LAPLACE, first, levels, center, tuple(codes.tolist()), axis)


def _fit_shape(counts: np.ndarray, first: int, center: int) -> Model:
    """Return the model of kind SHAPE with the least bits.

    Up to rounding, its log weights are linear in the logarithms of zero, ratio and curve.
    """
    distance = np.abs(np.arange(len(counts)) - center)
    beyond = np.maximum(distance - 1, 0)
    features = np.stack([distance == 0, beyond, beyond * (beyond - 1) / 2]).astype(float)  # (3, levels)
    x = _fit_exponents(features, counts)
    if x[1] > 0:  # the ratio is at most 1
        x = np.insert(_fit_exponents(features[[0, 2]], counts), 1, 0)
    numbers = np.exp(np.clip(x, -20, 8)) * (256, 65536, 32768)
    zero, ratio, curve = np.clip(np.rint(numbers), (1, 0, 0), 65535).astype(int).tolist()
    return Model(SHAPE, first, len(counts), center, (zero, ratio, curve))


def _fit_exponents(features: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return x (n,) for which weights exp(x @ features) have the fewest bits for symbols that occur `counts` times.

    The bits are convex in x, so that Newton's method finds the minimum.

    Args:
        features: (n, levels).
        counts: (levels,).
    """
    target = features @ counts / counts.sum()
    x = np.zeros(len(features))

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the nats per symbol, and the probability of each level."""
        logits = x @ features
        top = logits.max()
        p = np.exp(logits - top)
        total = p.sum()
        return float(np.log(total) + top - x @ target), p / total

    loss, p = evaluate(x)
    for _ in range(100):
        mean = features @ p
        hessian = (features * p) @ features.T - np.outer(mean, mean)
        scale = np.sqrt(hessian.diagonal() + 1e-12)
        step = (
            np.linalg.solve(hessian / np.outer(scale, scale) + 1e-9 * np.eye(len(x)), (mean - target) / scale) / scale
        )
        size = 1.0
        while (trial := evaluate(x - size * step))[0] > loss and size > 1e-6:
            size /= 2
        x = x - size * step
        loss, p = trial
        if (mean - target) @ step < 1e-7:  # twice the nats that can still be gained per symbol
            break
    return x


# ------------------------------------------------------------------------------------------------------------ the coder


def encode(parts: Iterable[tuple[np.ndarray, Model]]) -> bytes:
    """Return the symbols of tensors one after the other as one range-coded stream, without the models."""
    coder = constriction.stream.queue.RangeEncoder()
    for symbols, model in parts:
        for table, group in zip(model.tables, model.groups(symbols.shape), strict=True):
            if table.levels > 1:
                values = np.ascontiguousarray(symbols[group].ravel() - table.first, np.int32)
                coder.encode(values, table.coder_model())
    return coder.get_compressed().astype("<u4").tobytes()


def decode(data: bytes, parts: Sequence[tuple[Sequence[int], Model]]) -> list[np.ndarray]:
    """Return the tensors of the given shapes from a stream of `encode`.

    A checksum of `data` must have been compared before, because most damaged streams decode to something.

    Raises:
        DataError: The stream is impossible, too short for the symbols, or has data after them.
    """
    if len(data) % 4:
        raise DataError(f"a coded stream has {len(data)} bytes, which is not a multiple of 4")
    least = sum(model.least_bits(shape) for shape, model in parts)
    if least > 8 * len(data) + 64:
        raise DataError(f"a coded stream has {len(data)} bytes, but its symbols need at least {least / 8:.0f}")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    tensors = []
    for shape, model in parts:
        symbols = np.empty(tuple(shape), np.int32)
        for table, group in zip(model.tables, model.groups(shape), strict=True):
            part = symbols[group]
            if table.levels == 1:
                symbols[group] = table.first
                continue
            try:
                values = coder.decode(table.coder_model(), part.size)
            except (AssertionError, ValueError) as error:
                raise DataError(f"a coded stream is damaged: {error}") from error
            symbols[group] = values.reshape(part.shape) + table.first
        tensors.append(symbols)
    if not coder.maybe_exhausted():
        raise DataError("a coded stream has data after its last symbol")
    return tensors
