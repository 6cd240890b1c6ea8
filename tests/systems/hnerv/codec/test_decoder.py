"""Test decoding: any frame, any order, any batch, cropping, segments, and agreement over threads and memory formats."""

import numpy as np
import pytest
import torch

from tests.helpers.hnv import long_hnv, small_hnv, small_network
from vislab.errors import DataError
from vislab.systems.hnerv.codec.content import VideoInfo, dequantize, from_network
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.writer import write_hnv


def distance(a, b):
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max()


def test_frames_are_those_of_the_quantized_network_cropped(tmp_path):
    network, embeddings = small_network(), torch.randn(3, 4, 3, 4)
    segment = from_network(network, embeddings)
    write_hnv(tmp_path / "a.hnv", VideoInfo((17, 22)), [segment])
    network.load_state_dict(dequantize(segment.weights))
    with torch.no_grad():
        expected = network(torch.from_numpy(segment.embeddings.values()))[:, :, :17, :22]
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        frames = np.stack(list(decoder.decode(range(3))))
    assert frames.shape == (3, 17, 22, 3) and frames.dtype == np.uint8 and frames.std() > 5
    assert distance(frames, (expected * 255).round().permute(0, 2, 3, 1)) <= 1


@pytest.mark.parametrize("make", [small_hnv, long_hnv])
def test_any_frame_alone_in_any_order_and_batch(tmp_path, make):
    path = make(tmp_path / "a.hnv")
    with HnvDecoder(path) as decoder:
        count = len(decoder)
        sequence = list(decoder.decode(range(count), batch_size=1))
        order = [*np.random.default_rng(0).permutation(count).tolist(), 0, 0, count - 1]
        for size in (None, 1, 3):
            assert (
                max(
                    distance(f, sequence[i]) for i, f in zip(order, decoder.decode(order, batch_size=size), strict=True)
                )
                <= 1
            )
    for i in (count - 1, 0, count // 2):
        with HnvDecoder(path) as decoder:
            assert distance(decoder.frame(i), sequence[i]) <= 1
    with HnvDecoder(path) as decoder, pytest.raises(IndexError):
        list(decoder.decode([0, count]))


def test_residual_weights_are_added_to_those_before(tmp_path):
    with HnvDecoder(long_hnv(tmp_path / "a.hnv")) as decoder:
        last, middle = dict(decoder.weights(2)), dict(decoder.weights(1))
        added, first = dequantize(decoder.file.weights(1)), decoder.weights(0)
        for name, weight in middle.items():
            assert torch.equal(weight, first[name] + added[name]) and not torch.equal(weight, last[name])
        assert all(torch.equal(w, middle[name]) for name, w in decoder.weights(1).items())  # from the cached first


def test_weights_are_equal_and_pixels_within_one_level_over_threads_and_formats(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    threads = torch.get_num_threads()
    try:
        runs = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            with HnvDecoder(path) as decoder:
                runs.append((decoder.weights(0), np.stack(list(decoder.decode(range(7))))))
    finally:
        torch.set_num_threads(threads)
    with HnvDecoder(path) as decoder:
        network = decoder.network(0).to(memory_format=torch.contiguous_format)
        with torch.no_grad():
            plain = network(decoder.embeddings((0, i) for i in range(7)).contiguous())[:, :, :17, :22]
    for weights, frames in runs:
        assert all(torch.equal(weight, runs[0][0][name]) for name, weight in weights.items())
        assert distance(frames, runs[0][1]) <= 1
        assert distance(frames, (plain * 255).round().permute(0, 2, 3, 1)) <= 1


def test_decoding_draws_no_random_numbers(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    state = torch.get_rng_state()
    HnvDecoder(path).frame(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_does_not_grow_with_the_video(tmp_path):
    with HnvDecoder(small_hnv(tmp_path / "a.hnv", frames=60, section=2)) as decoder:
        list(decoder.decode(range(60)))
        assert len(decoder._sections) <= 4 and len(decoder.file._heads) == 1


def test_infinite_outputs_are_refused(tmp_path):
    segment = from_network(small_network(), torch.randn(2, 4, 3, 4))
    steps = segment.weights["stages.0.0.weight"]
    object.__setattr__(steps, "step", np.asarray(1e38, np.float32))
    write_hnv(tmp_path / "a.hnv", VideoInfo((17, 22)), [segment])
    with HnvDecoder(tmp_path / "a.hnv") as decoder, pytest.raises(DataError, match="NaN"):
        decoder.frame(0)
