"""Test quantized tensors and segments."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.systems.hnerv.codec.test_spec import SMALL
from vislab.errors import ConfigError, DataError
from vislab.systems.hnerv.codec.content import Quantized, Segment, VideoInfo, dequantize, from_network, stored


def network(seed=0):
    torch.manual_seed(seed)
    return SMALL.network()


def test_values_are_offset_plus_step_times_symbol():
    tensor = Quantized(
        np.array([[1, -2], [3, 0]], np.int32), np.array([[0.5], [0.25]], np.float16), np.array([[1.0]], np.float32)
    )
    assert tensor.values().tolist() == [[1.5, 0.0], [1.75, 1.0]] and tensor.values().dtype == np.float32


def test_rounding_is_at_most_half_a_step_of_the_stored_precision():
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    tensor = Quantized.of(values, np.full((1, 4), 0.1), values.min(axis=0, keepdims=True))
    assert tensor.step.dtype == np.float16 and tensor.symbols.min() >= 0
    assert np.abs(tensor.values() - values).max() <= 0.0501


def test_steps_are_float16_where_it_keeps_their_precision():
    assert stored([1.0, 6e-5]).dtype == np.float32  # below the normal range of float16
    assert stored([1.0, 7e-5, 0.0]).dtype == np.float16
    assert stored([1e5]).dtype == np.float32


@pytest.mark.parametrize(
    "change, words",
    [
        ({"symbols": np.zeros((2, 2), np.int64)}, "int64"),
        ({"symbols": np.full((2, 2), 1 << 15, np.int32)}, "32768"),
        ({"step": np.zeros((), np.float16)}, "not positive"),
        ({"step": np.ones(2, np.float16)}, "step"),
        ({"step": np.ones((1, 3), np.float16)}, "step"),
        ({"offset": np.full((), np.nan, np.float16)}, "offset"),
        ({"offset": np.zeros((), np.float64)}, "float64"),
    ],
)
def test_inconsistent_tensors_are_refused(change, words):
    tensor = {"symbols": np.zeros((2, 2), np.int32), "step": np.ones((), np.float16)}
    with pytest.raises(DataError, match=words):
        Quantized(**tensor, **change) if "offset" in change else Quantized(**{**tensor, **change})


def test_a_network_with_many_bits_is_nearly_unchanged_and_zero_stays_zero():
    net, embeddings = network(), torch.randn(5, 4, 2, 3)
    with torch.no_grad():
        net.stages[0][0].weight[0] = 0
    segment = from_network(net, embeddings, weight_bits=12, bias_bits=12, embedding_bits=12)
    weights = dequantize(segment.weights)
    assert list(weights) == list(net.state_dict())
    for name, weight in net.state_dict().items():
        assert (weights[name] - weight).abs().max() <= 0.51 * weight.abs().max() / 2047, name
    assert (weights["stages.0.0.weight"][0] == 0).all()
    assert np.abs(segment.embeddings.values() - embeddings.numpy()).max() < 0.002
    assert segment.frames == 5 and segment.spec == SMALL


@pytest.mark.parametrize("bits, levels", [(2, 3), (4, 15), (8, 255)])
def test_number_of_levels(bits, levels):
    segment = from_network(network(), torch.randn(5, 4, 2, 3), weight_bits=bits, embedding_bits=bits)
    symbols = segment.weights["stages.1.0.weight"].symbols
    assert max(symbols.max(), -symbols.min()) == (levels - 1) // 2
    assert segment.embeddings.symbols.min() == 0 and segment.embeddings.symbols.max() <= levels + 1


def test_constant_weights_and_embeddings_are_kept():
    net = network()
    torch.nn.init.zeros_(net.to_rgb.bias)
    segment = from_network(net, torch.full((2, 4, 1, 1), 0.3))
    assert (dequantize(segment.weights)["to_rgb.bias"] == 0).all()
    assert np.allclose(segment.embeddings.values(), 0.3, atol=1e-3)


def test_networks_that_cannot_be_stored_are_refused():
    with pytest.raises(ConfigError, match="weight_bits=1"):
        from_network(network(), torch.randn(2, 4, 1, 1), weight_bits=1)
    with pytest.raises(DataError, match="embeddings contains NaN"):
        from_network(network(), torch.full((2, 4, 1, 1), torch.nan))
    segment = from_network(network(), torch.randn(2, 4, 1, 1))
    with pytest.raises(DataError, match="embeddings"):
        Segment(SMALL, segment.weights, Quantized(np.zeros((2, 3, 1, 1), np.int32), np.ones((), np.float16)))
    with pytest.raises(DataError, match="between frames"):
        Segment(SMALL, segment.weights, Quantized(np.zeros((2, 4, 1, 1), np.int32), np.ones((2, 1, 1, 1), np.float16)))
    with pytest.raises(DataError, match="weights"):
        Segment(SMALL, dict(list(segment.weights.items())[1:]), segment.embeddings)


def test_times_and_sizes():
    assert VideoInfo((4, 6)).rate == 25 and VideoInfo((4, 6), Fraction(1, 600), 24).rate == 25
    for size in ((0, 5), (1 << 15, 1), (1 << 13, 1 << 13)):
        with pytest.raises(DataError, match="pixels"):
            VideoInfo(size)
    with pytest.raises(DataError, match="interval=0"):
        VideoInfo((4, 6), interval=0)
    segment = from_network(network(), torch.randn(3, 4, 1, 1))
    assert replace(segment, times=(0, 1, 5)).frames == 3
    for times in ((0, 1), (0, 2, 2)):
        with pytest.raises(DataError, match="times for 3 frames"):
            replace(segment, times=times)
