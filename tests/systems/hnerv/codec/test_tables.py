"""Test frequency tables against calculations by hand and the formulas of the distributions."""

import numpy as np
import pytest

from vislab.errors import DataError
from vislab.systems.hnerv.codec.tables import (
    from_codes,
    laplace_weights,
    make_table,
    shape_weights,
    to_codes,
)


def test_frequencies_are_positive_and_sum_to_two_to_the_20():
    table = make_table(-1, np.array([0, 3, 1]))
    rest = (1 << 20) - 3
    assert table.frequencies.tolist() == [1, 1 + rest * 3 // 4 + 1, 1 + rest // 4]
    assert table.frequencies.sum() == 1 << 20


def test_costs_are_those_of_the_24_bit_intervals():
    table = make_table(0, np.array([1, 1, 2]))
    widths = 2.0 ** (24 - table.costs)
    assert np.allclose(widths.sum(), 1 << 24) and np.allclose(table.costs, [2, 2, 1], atol=1e-4)
    assert table.bits(np.array([[0, 2], [2, 2]])) == pytest.approx(5, abs=1e-3)
    assert make_table(7, np.array([5])).bits(np.array([7, 7])) == 0


def test_byte_codes():
    numbers = from_codes(np.arange(256, dtype=np.uint8))
    assert numbers[:18].tolist() == list(range(18)) and numbers[-1] == 507904
    assert (np.diff(numbers) > 0).all()
    assert (to_codes(numbers) == np.arange(256)).all()
    assert to_codes(np.array([0, 0.2, 33.1, 1e9])).tolist() == [0, 1, 33, 255]  # 33 stands for 34
    values = np.arange(16, 500_000, 7)
    assert (np.abs(from_codes(to_codes(values)) - values) <= values / 32).all()


def test_geometric_and_gaussian_shapes():
    geometric = shape_weights(9, 4, zero=256, ratio=32768, curve=32768)
    assert (geometric / 2**32).tolist() == [1 / 8, 1 / 4, 1 / 2, 1, 1, 1, 1 / 2, 1 / 4, 1 / 8]
    sigma = 10.0
    ratio, curve = np.exp(-3 / (2 * sigma**2)), np.exp(-1 / sigma**2)
    gaussian = shape_weights(101, 50, 256, round(65536 * ratio), round(32768 * curve)).astype(float)
    expected = np.exp(-(np.arange(-50, 51.0) ** 2) / (2 * sigma**2))
    assert np.allclose(gaussian / gaussian.sum(), expected / expected.sum(), atol=3e-4)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0, 40.0])
def test_laplace_is_the_integral_over_each_step(scale):
    code = to_codes(np.array([65536 * (1 - np.exp(-0.5 / scale))]))[0]
    near = -0.5 / np.log(1 - from_codes(np.array([code], np.uint8))[0] / 65536)
    assert abs(near / scale - 1) < 0.1
    x = np.arange(-400, 402) - 0.5
    below = np.exp(-np.abs(x) / near) / 2
    cdf = np.where(x < 0, below, 1 - below)
    weights = laplace_weights(801, 400, int(code)).astype(float)
    assert np.allclose(weights / weights.sum(), np.diff(cdf), atol=1e-4)


@pytest.mark.parametrize(
    "make", [lambda c: laplace_weights(300, 0, c), lambda c: shape_weights(300, 299, c + 1, 65535, 65535)]
)
def test_extreme_parameters_give_tables(make):
    for code in (0, 1, 128, 254, 255):
        assert make_table(0, make(code)).frequencies.min() >= 1


def test_impossible_tables_are_refused():
    with pytest.raises(DataError, match="sum 0"):
        make_table(0, np.zeros(3, np.int64))
    with pytest.raises(DataError, match="4097 levels"):
        make_table(0, np.ones(4097, np.int64))
