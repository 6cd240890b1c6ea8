"""Test the published compression: quantization, Huffman codes against their entropy, the packed bytes, pruning."""

import numpy as np
import pytest
import torch

from vislab.errors import ConfigError, DataError
from vislab.systems.hnerv.codec.published import (
    PER_TENSOR,
    PublishedStream,
    apply_masks,
    code_lengths,
    huffman_decode,
    huffman_encode,
    prune,
    quantize,
)
from vislab.systems.hnerv.model import HNeRVDecoder


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_quantization_is_within_half_a_step():
    values = normal(7, 5)  # no axis has fewer minima than 2 % of the elements
    found = quantize(values, 8)
    assert found.axis == PER_TENSOR and found.minimum.dtype == np.float32
    assert found.symbols.min() == 0 and found.symbols.max() == 255
    assert np.abs(found.values() - values).max() <= found.scale / 2 * 1.001


def test_the_axis_with_the_least_error_is_taken():
    values = normal(132, 3, 70, seed=1) * np.geomspace(0.01, 1, 132, dtype=np.float32)[:, None, None]
    assert quantize(values, 6).axis == 2  # each row of the first axis has its own size
    values = normal(132, 3, 70, seed=1) * np.geomspace(0.01, 1, 70, dtype=np.float32)
    found = quantize(values, 6)
    assert found.axis == 0 and found.minimum.shape == (1, 3, 70) and found.scale.dtype == np.float16


def test_constants_and_bits():
    values = np.full((4, 3), 0.25, np.float32)
    np.testing.assert_array_equal(quantize(values, 8).values(), values)
    for bits in (0, 9):
        with pytest.raises(ConfigError, match="1 to 8"):
            quantize(values, bits)


@pytest.mark.parametrize("levels", [1, 2, 17, 256])
def test_huffman_round_trip_within_one_bit_of_the_entropy(levels):
    symbols = np.random.default_rng(2).geometric(0.1, 3000).clip(1, levels).astype(np.uint8) - 1
    counts = np.bincount(symbols, minlength=256)
    lengths = code_lengths(counts)
    coded = huffman_encode(symbols, lengths)
    np.testing.assert_array_equal(huffman_decode(coded, lengths, len(symbols)), symbols)
    share = counts[counts > 0] / len(symbols)
    entropy = -(share * np.log2(share)).sum() * len(symbols) / 8
    assert entropy <= len(coded) <= entropy + len(symbols) / 8 + 1
    if levels > 1:
        assert (2.0 ** -lengths[lengths > 0].astype(float)).sum() == 1  # a complete code


def test_damaged_huffman_streams_are_refused():
    symbols = np.arange(8, dtype=np.uint8)
    lengths = code_lengths(np.bincount(symbols, minlength=256))
    with pytest.raises(DataError, match="7 of 8|5 of 8"):
        huffman_decode(huffman_encode(symbols, lengths)[:-1], lengths, 8)
    with pytest.raises(DataError, match="unknown code"):
        huffman_decode(b"\xff", np.array([1, 2] + [0] * 254, np.uint8), 2)


def decoder():
    torch.manual_seed(0)
    return HNeRVDecoder(strides=(5, 2), widths=(12, 10, 8), kernels=(1, 3), embed_dim=8)


def test_packed_bytes_restore_network_and_embeddings():
    network, embeddings = decoder(), torch.randn(60, 8, 2, 3)
    stream = PublishedStream.of(network, embeddings, weight_bits=6, embedding_bits=5)
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    read = PublishedStream.unpack(stream.pack(), shapes, embeddings.shape)
    for (name, one), other in zip(stream.state_dict().items(), read.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
        assert (one - network.state_dict()[name]).abs().max() < 0.1
    np.testing.assert_array_equal(read.embeddings.values(), stream.embeddings.values())
    assert stream.embeddings.symbols.max() == 31
    count = sum(p.numel() for p in network.parameters()) + embeddings.numel()
    assert len(stream.pack()) < count * 6 / 8 + 256 + 4 * 8 * 6 + 8 * 11


def test_networks_without_embeddings():
    network = decoder()
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    stream = PublishedStream.of(network, None)
    read = PublishedStream.unpack(stream.pack(), shapes, None)
    assert read.embeddings is None
    assert all(torch.equal(a, b) for a, b in zip(stream.state_dict().values(), read.state_dict().values(), strict=True))


def test_pruning_sets_the_smallest_weights_to_zero():
    network = decoder()
    weights = {name: p for name, p in network.named_parameters() if p.ndim > 1}
    before = {name: p.detach().clone() for name, p in weights.items()}
    total = sum(p.numel() for p in weights.values())
    kept = prune(network, 0.25)
    assert sum(int((~mask).sum()) for mask in kept.values()) == round(0.25 * total)
    largest = max(before[name][~mask].abs().max() for name, mask in kept.items())
    assert largest <= min(before[name][mask].abs().min() for name, mask in kept.items())
    for name, p in weights.items():
        assert torch.equal(p, before[name] * kept[name])
        p.data.add_(1.0)
    apply_masks(network, kept)
    assert all((p[~kept[name]] == 0).all() for name, p in weights.items())
    assert all(mask.all() for mask in prune(decoder(), 0.0).values())
    with pytest.raises(ConfigError, match="share=1"):
        prune(network, 1.0)
