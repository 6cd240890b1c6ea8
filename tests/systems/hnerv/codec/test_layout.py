"""Test headers of .hnv files byte by byte."""

import zlib
from fractions import Fraction

import numpy as np
import pytest

from tests.helpers.hnv import SMALL_SPEC
from vislab.errors import DataError
from vislab.systems.hnerv.codec.content import VideoInfo
from vislab.systems.hnerv.codec.entropy import NO_AXIS, UNIFORM, Model
from vislab.systems.hnerv.codec.layout import (
    Coding,
    Entry,
    Part,
    SegmentHead,
    pack_header,
    pack_table,
    unpack_footer,
    unpack_header,
    unpack_table,
)
from vislab.systems.hnerv.codec.numbers import Reader
from vislab.systems.hnerv.codec.spec import DecoderSpec

INFO = VideoInfo((17, 22), Fraction(1001, 30000), 1, 6)
MODEL = Model(UNIFORM, -2, 5)


def head(**changes):
    coding = Coding(np.ones((1, 4, 1, 1), np.float16), np.zeros((), np.float32), (MODEL, MODEL))
    parts = Part(9, 1, 2), (Part(5, 3, 4), Part(300, 5, 6), Part(4, 7, 8))
    arguments = {
        "spec": SMALL_SPEC, "frames": 7, "embedding": (3, 4), "times": range(0, 7), "residual": False,
        "differences": True, "section": 3, "coding": coding, "weights": parts[0], "sections": parts[1],
    }  # fmt: skip
    return SegmentHead(**{**arguments, **changes})


def test_file_header():
    data = pack_header(INFO)
    body = bytes([17, 22, 0xE9, 0x07, 0xB0, 0xEA, 0x01, 1, 6])
    expected = b"HNV1\x01" + bytes([len(body)]) + body
    assert data == expected + zlib.crc32(expected).to_bytes(4, "little")
    assert unpack_header(data + b"more") == (INFO, len(data))


@pytest.mark.parametrize("position", range(len(pack_header(INFO))))
def test_every_byte_of_the_file_header_counts(position):
    data = bytearray(pack_header(INFO))
    data[position] ^= 4
    with pytest.raises(DataError):
        unpack_header(bytes(data) + bytes(300))


@pytest.mark.parametrize(
    "body, words",
    [
        ([0, 22, 1, 25, 1, 2], "pixels"),
        ([17, 22, 1, 0, 1, 2], "zero"),
        ([17, 22, 2, 50, 1, 2], "lowest terms"),
        ([17, 22, 1, 25, 0, 2], "interval=0"),
        ([17, 22, 1, 25, 1], "ends early"),
        ([17, 22, 1, 25, 1, 2, 0], "too many"),
        ([255, 255, 3, 22, 1, 25, 1, 2], "at most 16384"),
    ],
)
def test_impossible_facts_with_a_right_checksum_are_refused(body, words):
    data = b"HNV1\x01" + bytes([len(body), *body])
    with pytest.raises(DataError, match=words):
        unpack_header(data + zlib.crc32(data).to_bytes(4, "little"))


def test_a_later_version_is_named():
    with pytest.raises(DataError, match="version is 2"):
        unpack_header(b"HNV1\x02" + bytes(20))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"times": range(-4, 3)},
        {"times": (0, 1, 5, 6, 7, 8, 100)},
        {"residual": True, "differences": False},
        {"frames": 1, "times": range(3, 4), "sections": (Part(5, 3, 4),)},
    ],
)
def test_segment_headers_come_back(change):
    segment = head(**change)
    if segment.frames == 1:
        segment = head(**change, coding=Coding(segment.coding.step, None, (MODEL,)))
    again = SegmentHead.unpack(segment.pack(1), INFO)
    for name, value in vars(segment).items():
        if name != "coding":
            assert getattr(again, name) == value, name
    assert again.coding.models == segment.coding.models and (again.coding.step == segment.coding.step).all()
    assert again.coding.step.dtype == np.float16 and again.coding.step.shape == (1, 4, 1, 1)
    assert again.pack(1) == segment.pack(1)


def test_the_hash_of_the_network_is_compared():
    data = head().pack(1)
    with pytest.raises(DataError, match="hash of the network"):
        SegmentHead.unpack(data.replace(SMALL_SPEC.digest(), bytes(32)), INFO)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"frames": 0, "times": range(0, 1)}, "no frames"),
        ({"section": 0}, "sections of 0"),
        ({"sections": (Part(5, 3, 4),)}, "ends early"),
        ({"sections": (Part(5, 3, 4),) * 4}, "too many"),
        ({"times": (0, 1, 2, 3, 3, 4, 5)}, "increase"),
    ],
)
def test_impossible_segment_headers_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        SegmentHead.unpack(head(**change).pack(1), INFO)


def test_absurd_sections_are_refused_before_they_are_allocated():
    huge = VideoInfo((1 << 12, 1 << 13))
    big = head(frames=1 << 20, times=range(1 << 20), section=1 << 20)
    with pytest.raises(DataError, match="not possible"):
        SegmentHead.unpack(big.pack(1), huge)


def test_absurd_layers_are_refused_before_they_are_allocated():
    wide = DecoderSpec(1, (16, 16), (1, 1, 256), (1, 1))  # 2,309 weights, but 32 GiB for a frame
    big = head(spec=wide, frames=1, times=range(1), sections=(Part(5, 3, 4),))
    with pytest.raises(DataError, match="a layer of .* has more than 268435456 values"):
        SegmentHead.unpack(big.pack(1), VideoInfo((1 << 12, 1 << 13)))


@pytest.mark.parametrize(
    "step, offset",
    [((), None), ((4, 1), (1, 3)), ((4, 3), ()), ((1, 3), (4, 3))],
    ids=["plain", "axes", "full", "mixed"],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_steps_come_back(step, offset, dtype):
    steps = np.arange(1, 1 + np.prod(step, dtype=int)).reshape(step).astype(dtype)
    offsets = None if offset is None else np.arange(np.prod(offset, dtype=int)).reshape(offset).astype(np.float32)
    data = Coding(steps, offsets, (MODEL,)).pack()
    again = Coding.unpack(Reader(data, "test"), (4, 3), [(4, 3)])
    assert again.step.dtype == dtype and again.step.tolist() == steps.tolist()
    assert (again.offset is None) == (offset is None) and again.models == (MODEL,)
    assert offset is None or again.offset.tolist() == offsets.tolist()


@pytest.mark.parametrize("flags", [4, 8, 64, 128])
def test_unknown_flags_of_steps_are_refused(flags):
    with pytest.raises(DataError, match="flags"):
        Coding.unpack(Reader(bytes([flags, 0, 60, UNIFORM << 4 | NO_AXIS, 0, 0]), "test"), (4, 3), [(4, 3)])


def test_the_table_is_bound_to_the_file_header():
    entries = [Entry(7, 1000, 80, 5), Entry(1 << 20, 1 << 40, 300, 1 << 31)]
    header = pack_header(INFO)
    data = pack_table(entries, header)
    length, checksum = unpack_footer(data[-12:])
    assert unpack_table(data[:length], checksum, header) == entries and length == len(data) - 12
    with pytest.raises(DataError, match="checksum"):
        unpack_table(data[:length], checksum, pack_header(VideoInfo((17, 23))))
    with pytest.raises(DataError, match="truncated"):
        unpack_footer(data[-13:-1])
