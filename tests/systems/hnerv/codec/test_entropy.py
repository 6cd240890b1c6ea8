"""Test entropy models and the coder, also against a range decoder of our own in plain integers."""

from bisect import bisect_right

import numpy as np
import pytest

from vislab.errors import DataError
from vislab.systems.hnerv.codec.entropy import (
    COUNTS,
    LAPLACE,
    NO_AXIS,
    SHAPE,
    UNIFORM,
    Model,
    decode,
    encode,
    fit_model,
)
from vislab.systems.hnerv.codec.numbers import Reader

RNG = np.random.default_rng(0)
TENSORS = {
    "constant": np.full((5, 3), -7, np.int32),
    "uniform": RNG.integers(-3, 12, (20, 5)).astype(np.int32),
    "gaussian": RNG.normal(0, 3, (60, 40)).round().astype(np.int32),
    "shifted": RNG.normal(128, 30, (60, 40)).round().astype(np.int32),
    "laplace": RNG.laplace(0, 0.4, (60, 40)).round().astype(np.int32),
    "heavy": (RNG.standard_t(2, (60, 40)) * 2).clip(-90, 90).round().astype(np.int32),
    "two humps": (RNG.choice([-9, 9], (90, 90)) + RNG.normal(0, 1, (90, 90)).round()).astype(np.int32),
    "rows": (RNG.laplace(0, 1, (30, 200)) * np.geomspace(0.2, 20, 30)[:, None]).round().astype(np.int32),
}


def entropy(symbols):
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / symbols.size)).sum())


@pytest.mark.parametrize("name", TENSORS)
def test_fitted_models_are_near_the_entropy_and_come_back(name):
    symbols = TENSORS[name]
    model = fit_model(symbols, axes=(0, 1))
    data = encode([(symbols, model)])
    assert abs(8 * len(data) - model.bits(symbols)) <= 64
    assert model.bits(symbols) + 8 * len(model.pack()) <= 1.03 * entropy(symbols) + 100
    reader = Reader(model.pack(), "test")
    assert Model.unpack(reader, symbols.shape) == model
    reader.end()
    (again,) = decode(data, [(symbols.shape, model)])
    assert np.array_equal(again, symbols) and again.dtype == np.int32


def test_each_kind_wins_where_it_belongs():
    kinds = {name: fit_model(symbols, axes=(0, 1)).kind for name, symbols in TENSORS.items()}
    assert kinds["uniform"] == kinds["constant"] == UNIFORM
    assert kinds["gaussian"] == kinds["shifted"] == kinds["heavy"] == SHAPE
    assert kinds["two humps"] == COUNTS and kinds["laplace"] in (LAPLACE, SHAPE)
    rows = fit_model(TENSORS["rows"], axes=(0, 1))
    assert (rows.kind, rows.axis) == (LAPLACE, 0)
    assert rows.bits(TENSORS["rows"]) < 0.86 * entropy(TENSORS["rows"])


def test_several_tensors_share_a_stream():
    parts = [(symbols, fit_model(symbols)) for symbols in TENSORS.values()]
    data = encode(parts)
    assert 8 * len(data) <= sum(model.bits(symbols) for symbols, model in parts) + 64
    again = decode(data, [(symbols.shape, model) for symbols, model in parts])
    assert all(np.array_equal(a, b) for a, (b, _) in zip(again, parts, strict=True))


def plain_decode(data, cumulative, count):
    """Decode `count` symbols with plain integers: 64-bit range coder, 32-bit words, 24-bit intervals."""
    words = [*np.frombuffer(data, "<u4").tolist(), 0, 0, 0]
    mask = (1 << 64) - 1
    low, width, point, position = 0, mask, words[0] << 32 | words[1], 2
    symbols = []
    for _ in range(count):
        scale = width >> 24
        symbol = bisect_right(cumulative, ((point - low) & mask) // scale) - 1
        low = (low + scale * cumulative[symbol]) & mask
        width = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if width >> 32 == 0:
            low, width = (low << 32) & mask, width << 32
            point = (point << 32) & mask | words[position]
            position += 1
        symbols.append(symbol)
    return symbols


@pytest.mark.parametrize("name", ["uniform", "gaussian", "heavy", "two humps"])
def test_the_stream_is_the_documented_one(name):
    """A decoder that shares nothing with constriction: interval i starts at F_i (2^24 - n) // 2^20 + i."""
    symbols = TENSORS[name].ravel()[:500]
    (table,) = fit_model(TENSORS[name]).tables
    starts = np.cumsum([0, *table.frequencies]).tolist()
    cumulative = [f * (2**24 - table.levels) // 2**20 + i for i, f in enumerate(starts)]
    data = encode([(symbols, fit_model(TENSORS[name]))])
    assert plain_decode(data, cumulative, len(symbols)) == (symbols - table.first).tolist()


def test_damaged_streams_are_refused_or_differ():
    symbols = TENSORS["gaussian"]
    model = fit_model(symbols)
    data = encode([(symbols, model)])
    part = [(symbols.shape, model)]
    with pytest.raises(DataError, match="multiple of 4"):
        decode(data[:-1], part)
    with pytest.raises(DataError, match="after its last symbol"):
        decode(data + data, part)
    with pytest.raises(DataError, match="need at least"):
        decode(data[:400], part)
    with pytest.raises(DataError, match="need at least"):
        decode(data, [((1 << 20, 1 << 9), model)])  # refused before half a gigabyte of symbols is allocated


@pytest.mark.parametrize(
    "data",
    [
        [UNIFORM << 4 | NO_AXIS, 0, 255, 127],  # 16384 levels
        [9 << 4 | NO_AXIS, 0, 3],
        [UNIFORM << 4 | 0, 0, 3],  # an axis
        [LAPLACE << 4 | 2, 0, 3, 1, 5, 5],  # an axis that the tensor lacks
        [COUNTS << 4 | NO_AXIS, 0, 3, 0, 0, 0, 0],
        [SHAPE << 4 | NO_AXIS, 0, 3, 1, 0, 0, 1, 0, 1, 0],  # zero weight of the center
        [SHAPE << 4 | NO_AXIS, 0, 3, 4, 1, 0, 1, 0, 1, 0],  # center outside
        [SHAPE << 4 | NO_AXIS, 0, 3, 1, 1, 0],
        [UNIFORM << 4 | NO_AXIS, 255, 255, 7, 9],  # symbols beyond 16 bits
    ],
)
def test_impossible_models_are_refused(data):
    with pytest.raises(DataError):
        Model.unpack(Reader(bytes(data), "test"), (4, 2))


def test_too_many_levels_are_refused():
    with pytest.raises(DataError, match="larger step"):
        fit_model(np.array([0, 5000], np.int32))
