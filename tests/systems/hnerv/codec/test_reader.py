"""Test reading: the same numbers come back, each part is checked, and a second reader agrees."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.hnv import SMALL_INFO, long_hnv, small_hnv, small_segment
from tests.systems.hnerv.codec import hnv_reader
from vislab.errors import DataError
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.layout import crc
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.writer import write_hnv

GOLDEN = Path(__file__).parent / "golden"


def same(a, b):
    arrays = [(a.symbols, b.symbols), (a.step, b.step), (a.offset, b.offset)]
    return all((x is None and y is None) or (np.array_equal(x, y) and x.dtype == y.dtype) for x, y in arrays)


@pytest.mark.parametrize("options", [{}, {"section": 1}, {"frames": 1}, {"section": 100}, {"weight_bits": 3}])
def test_what_is_written_comes_back(tmp_path, options):
    segment = small_segment(**options)
    with HnvFile(small_hnv(tmp_path / "a.hnv", **options)) as file:
        assert file.info == SMALL_INFO and file.frames == segment.frames
        assert file.bits_per_pixel == 8 * file.path.stat().st_size / (file.frames * 17 * 22)
        weights = file.weights(0)
        assert list(weights) == list(segment.weights)
        assert all(same(weights[name], tensor) for name, tensor in segment.weights.items())
        for section, start in enumerate(range(0, segment.frames, segment.section)):
            part = replace(segment.embeddings, symbols=segment.embeddings.symbols[start : start + segment.section])
            assert same(file.embeddings(0, section), part)
        file.verify()


def test_frames_are_found_in_their_segments(tmp_path):
    with HnvFile(long_hnv(tmp_path / "a.hnv")) as file:
        places = [file.locate(i) for i in range(file.frames)]
        assert places == [(0, i) for i in range(5)] + [(1, i) for i in range(4)] + [(2, i) for i in range(6)]
        assert list(file.times()) == list(range(15)) and file.end_time == 15
        for frame in (-1, 15):
            with pytest.raises(IndexError, match="frames 0 to 14"):
                file.locate(frame)
        file.verify()


def test_irregular_times(tmp_path):
    times = (0, 3, 4, 11)
    segments = [replace(small_segment(frames=4), times=times), small_segment(frames=2)]
    write_hnv(tmp_path / "a.hnv", SMALL_INFO, segments)
    assert list(HnvFile(tmp_path / "a.hnv").times()) == [0, 3, 4, 11, 12, 13]


@pytest.mark.parametrize("name", ["one", "long"])
def test_a_reader_written_from_the_page_agrees(tmp_path, name):
    path = (small_hnv if name == "one" else long_hnv)(tmp_path / "a.hnv")
    height, width, times, segments = hnv_reader.read_hnv(path.read_bytes())
    with HnvDecoder(path) as decoder:
        assert (height, width) == decoder.file.info.size
        assert times == [t / 25 for t in decoder.file.times()]
        for number, (_, _, weights, embeddings) in enumerate(segments):
            ours = decoder.weights(number).values()
            assert all(np.array_equal(a, b) for a, b in zip(weights, ours, strict=True))
            head = decoder.file.head(number)
            ours = decoder.embeddings((number, i) for i in range(head.frames))
            assert np.array_equal(embeddings, ours)
        for theirs, frame in zip(
            hnv_reader.decode(path.read_bytes()), decoder.decode(range(len(decoder))), strict=True
        ):
            assert np.abs(theirs.astype(int) - frame).max() <= 1


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.hnv")), ids=lambda path: path.stem)
def test_golden_files_stay_decodable(path):
    """Weights are compared bit for bit, frames within one level."""
    expected = np.load(path.with_suffix(".npz"))
    with HnvDecoder(path) as decoder:
        decoder.file.verify()
        frames = np.stack(list(decoder.decode(range(len(decoder)))))
        values = [
            crc(w.numpy().tobytes()) for i in range(len(decoder.file.entries)) for w in decoder.weights(i).values()
        ]
        assert values == expected["weights"].tolist() and list(decoder.file.times()) == expected["times"].tolist()
    assert frames.shape == expected["frames"].shape
    assert np.abs(frames.astype(int) - expected["frames"]).max() <= 1
    second = np.stack(list(hnv_reader.decode(path.read_bytes())))
    assert np.abs(second.astype(int) - expected["frames"]).max() <= 1


def test_golden_files_exist():
    assert len(list(GOLDEN.glob("*.hnv"))) >= 3


def test_each_damaged_part_is_named_and_the_others_stay_readable(tmp_path):
    path = long_hnv(tmp_path / "a.hnv")
    data = bytearray(path.read_bytes())
    with HnvFile(path) as file:
        head = file.head(2)
        weights = file._offsets[2] + file.entries[2].head_length
    section = weights + head.weights.length + head.sections[0].length
    for position, words in ((weights + 5, "weights of segment 2"), (section + 1, "section 1 of segment 2")):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with HnvFile(path) as file:
            file.weights(0), file.weights(1), file.embeddings(2, 0)
            with pytest.raises(DataError, match=f"{words}: the checksum is wrong"):
                file.verify()


def test_wrong_symbols_are_noticed_even_with_right_bytes(tmp_path):
    """As from another version of the coder: the checksum of the bytes is right, the numbers are not."""
    path = small_hnv(tmp_path / "a.hnv")
    with HnvFile(path) as file:
        file.head(0)
        object.__setattr__(file._heads[0].weights, "symbols_crc", 0)
        with pytest.raises(DataError, match="decoded numbers"):
            file.weights(0)


def test_swapped_segments_and_sections_are_noticed(tmp_path):
    path = tmp_path / "a.hnv"
    write_hnv(path, SMALL_INFO, [small_segment(3), small_segment(4)])
    data = path.read_bytes()
    with HnvFile(path) as file:
        a, b = (slice(file._offsets[i], file._offsets[i] + file.entries[i].length) for i in range(2))
    path.write_bytes(data[: a.start] + data[b] + data[a] + data[b.stop :])
    with HnvFile(path) as file, pytest.raises(DataError):
        file.verify()


@pytest.mark.parametrize("cut", [1, 11, 12, 100, -5, -1])
def test_truncated_files_are_refused(tmp_path, cut):
    path = small_hnv(tmp_path / "a.hnv")
    data = path.read_bytes()
    path.write_bytes(data[: -cut if cut > 0 else -cut])
    with pytest.raises(DataError, match=r"a\.hnv is not a valid"):
        HnvFile(path)


def test_data_behind_the_end_is_refused(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    path.write_bytes(path.read_bytes() + bytes(16))
    with pytest.raises(DataError, match="end is missing"):
        HnvFile(path)


def test_other_files_and_missing_ones_are_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    with pytest.raises(DataError, match="does not begin like"):
        HnvFile(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="No such file"):
        HnvFile(tmp_path / "b.hnv")
    with pytest.raises(DataError, match="cannot be read"):
        HnvFile(tmp_path)


def test_an_absurd_table_length_is_refused(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    data = bytearray(path.read_bytes())
    data[-12:-8] = struct.pack("<I", 1 << 31)
    path.write_bytes(data)
    with pytest.raises(DataError, match="longer than the file"):
        HnvFile(path)
