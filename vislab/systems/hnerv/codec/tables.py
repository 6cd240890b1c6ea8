"""Frequency tables of the entropy coder, computed in integers only, so that every machine has the same ones.

A table gives each integer from `first` a frequency; frequencies are positive and sum to 2^20. The coder (constriction's
range coder with 24-bit probabilities) gives symbol i the interval [c_i, c_(i+1)) of 2^24, where, for a table of n
symbols with cumulative frequencies F_i, c_i = F_i * (2^24 - n) // 2^20 + i.
"""

from dataclasses import dataclass
from functools import cached_property

import constriction
import numpy as np

from vislab.errors import DataError

PRECISION = 24
TOTAL_BITS = 20
MAX_LEVELS = 1 << 12
"""Most symbols of a table."""


@dataclass(frozen=True, eq=False)
class Table:
    """Frequencies of the integers first, first + 1, ..."""

    first: int
    frequencies: np.ndarray  # (n,) int64

    @property
    def levels(self) -> int:
        """Number of different symbols."""
        return len(self.frequencies)

    @cached_property
    def costs(self) -> np.ndarray:
        """Bits of each symbol, (n,) float64, as the coder has them."""
        if self.levels == 1:
            return np.zeros(1)
        bounds = np.append(np.cumsum(self.frequencies) - self.frequencies, 1 << TOTAL_BITS)
        bounds = bounds * ((1 << PRECISION) - self.levels) // (1 << TOTAL_BITS) + np.arange(self.levels + 1)
        return PRECISION - np.log2(np.diff(bounds))

    def bits(self, symbols: np.ndarray) -> float:
        """Return the bits of symbols (any shape), which must be in the table."""
        return float(self.costs[symbols.ravel() - self.first].sum())

    def coder_model(self) -> constriction.stream.model.Categorical:
        """Return the model for constriction, of tables with two symbols or more; the symbols are counted from 0."""
        # exact: both the frequencies and 2^20 are whole numbers in float64
        return constriction.stream.model.Categorical(self.frequencies / (1 << TOTAL_BITS), perfect=False)


def make_table(first: int, weights: np.ndarray) -> Table:
    """Return the table for non-negative weights (n,) int64, each below 2^43 and not all zero.

    Each frequency is 1 + weight * (2^20 - n) // sum; what is left of 2^20 goes to the first largest weight.
    """
    n = len(weights)
    total = int(weights.sum())
    if not 1 <= n <= MAX_LEVELS or total <= 0:
        raise DataError(
            f"a frequency table of {n} levels with sum {total}; expected 1 to {MAX_LEVELS} and a positive sum"
        )
    frequencies = 1 + weights * ((1 << TOTAL_BITS) - n) // total
    frequencies[int(weights.argmax())] += (1 << TOTAL_BITS) - int(frequencies.sum())
    return Table(first, frequencies)


def from_codes(codes: np.ndarray) -> np.ndarray:
    """Return the whole numbers of one-byte codes, (n,) uint8 -> int64: m below 16, else (16 + m) << (e - 1).

    m is the low and e the high half of the byte; the largest is 507904.
    """
    e, m = codes.astype(np.int64) >> 4, codes.astype(np.int64) & 15
    return np.where(e == 0, m, (16 + m) << np.maximum(e - 1, 0))


_NUMBERS = from_codes(np.arange(256, dtype=np.uint8))


def to_codes(numbers: np.ndarray) -> np.ndarray:
    """Return the codes of the nearest numbers that `from_codes` can give, (n,) -> uint8; positive stay positive."""
    right = np.clip(np.searchsorted(_NUMBERS, numbers), 1, 255)
    codes = np.where(numbers - _NUMBERS[right - 1] < _NUMBERS[right] - numbers, right - 1, right)
    return np.where(numbers > 0, np.maximum(codes, 1), codes).astype(np.uint8)


def shape_weights(levels: int, center: int, zero: int, ratio: int, curve: int) -> np.ndarray:
    """Return the weights (levels,) of symmetric, decreasing distributions from Laplace to Gaussian and heavier tails.

    With k the distance to level `center`: the weight at 0 is zero * 2^24, at 1 it is 2^32, and each further one is
    g_(k+1) = g_k * r_k >> 32 with r_1 = ratio * 2^16, r_(k+1) = min(r_k * curve >> 15, 2^32 - 1).

    Args:
        levels: Number of levels.
        center: Level of the center.
        zero: 1 to 65535; the weight of the center in 1/256 of that of its neighbors.
        ratio: 0 to 65535; decay from distance 1 to 2 in 1/65536.
        curve: 0 to 65535; factor of the decay per level in 1/32768: 32768 is Laplace, less is closer to Gaussian.
    """
    weights = [zero << 24, 1 << 32]
    r = ratio << 16
    for _ in range(2, max(center, levels - 1 - center) + 1):
        weights.append(weights[-1] * r >> 32)
        r = min(r * curve >> 15, (1 << 32) - 1)
    return np.asarray(weights, np.int64)[np.abs(np.arange(levels) - center)]


def laplace_weights(levels: int, center: int, code: int) -> np.ndarray:
    """Return the weights (levels,) of a quantized Laplace distribution.

    With k the distance to level `center`, and s = 2^16 - the number of `code` (see `from_codes`), at least 1: the
    weight at 0 is 2^64 // (s * (2^16 + s)), but at most 2^42, at 1 it is 2^31, and g_(k+1) = g_k * s * s >> 32.
    s / 2^16 is exp(-1 / (2 b)) for a scale of b steps.
    """
    s = max((1 << 16) - int(_NUMBERS[code]), 1)
    weights = [min((1 << 64) // (s * ((1 << 16) + s)), 1 << 42), 1 << 31]
    for _ in range(2, max(center, levels - 1 - center) + 1):
        weights.append(weights[-1] * s * s >> 32)
    return np.asarray(weights, np.int64)[np.abs(np.arange(levels) - center)]
