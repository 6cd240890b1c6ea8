"""Fuzz .hnv files: changed ones are refused before a pixel, with a message of one line, in little memory and time.

Some changes come with right checksums, as a program with a fault could write them, so that the checks behind the
checksums are reached; those files either are refused or have frames. VISLAB_FUZZ sets the number of files in the slow
test (default 10000):

    VISLAB_FUZZ=300 python -m pytest tests/fuzz/test_hnv_files.py -m slow
"""

import os
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.helpers.hnv import long_hnv, small_hnv
from vislab.errors import DataError
from vislab.io.video import read_frames
from vislab.systems.hnerv.codec.content import VideoInfo
from vislab.systems.hnerv.codec.layout import Entry, Part, SegmentHead, pack_header, pack_table
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.spec import DecoderSpec

COUNT = int(os.environ.get("VISLAB_FUZZ", "10000"))
MEMORY = 1 << 30
SECONDS = 20  # of CPU time for one file


class Original(NamedTuple):
    """A good file and what is in it."""

    data: bytes
    info: VideoInfo
    entries: list[Entry]
    heads: list[SegmentHead]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[Original]:
    folder = tmp_path_factory.mktemp("hnv")
    found = []
    for path in (small_hnv(folder / "a.hnv"), long_hnv(folder / "b.hnv")):
        assert len(list(read_frames(path))) in (7, 15)  # no good file is refused
        with HnvFile(path) as file:
            heads = [file.head(i) for i in range(len(file.entries))]
            found.append(Original(path.read_bytes(), file.info, file.entries, heads))
    return found


def flip(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 3, 20])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwrite(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([1, 4, 50, 1000]))
    data[start:end] = rng.choice([bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)])
    return bytes(data)


def truncate(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def cut_out(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) - 1)
    return bytes(data[:start] + data[start + rng.randrange(1, 200) :])


def insert(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return bytes(data[:start]) + rng.randbytes(rng.choice([1, 4, 100])) + bytes(data[start:])


def swap(data: bytearray, rng: random.Random) -> bytes:
    """Exchange two parts of equal length."""
    length = rng.randrange(1, len(data) // 3)
    a = rng.randrange(len(data) - 2 * length)
    b = rng.randrange(a + length, len(data) - length + 1)
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    return bytes(data)


def absurd_header(data: bytearray, rng: random.Random) -> bytes:
    """Change the file header and correct its checksum, but not that of the table."""
    length = data[5]
    data[6 + rng.randrange(length)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    data[6 + length : 10 + length] = struct.pack("<I", zlib.crc32(data[: 6 + length]))
    return bytes(data)


MUTATIONS = [flip, flip, overwrite, truncate, cut_out, insert, swap, absurd_header]


# ----------------------------------------------------------------------------------------- changes with right checksums


def resealed_fields(original: Original, rng: random.Random) -> bytes:
    """Change a byte of the file header, the segment table or a segment header."""
    header, entries = bytearray(pack_header(original.info)), list(original.entries)
    position = len(header)
    segments = []
    for entry in entries:
        segments.append(bytearray(original.data[position : position + entry.length]))
        position += entry.length
    place = rng.choice(["header", "table", "head"])
    if place == "header":
        spoil(header, 6, len(header) - 4, rng)
        header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    number = rng.randrange(len(entries))
    if place == "head":
        spoil(segments[number], 0, entries[number].head_length, rng)
        head = zlib.crc32(segments[number][: entries[number].head_length])
        entries[number] = replace(entries[number], head_crc=head)
    table = bytearray(pack_table(entries, bytes(header)))
    if place == "table":
        spoil(table, 0, len(table) - 12, rng)
        checksum = zlib.crc32(bytes(header[:-4]) + table[:-8])
        table[-8:-4] = struct.pack("<I", checksum)
    return b"".join([header, *segments, table])


def spoil(data: bytearray, start: int, stop: int, rng: random.Random) -> None:
    position = rng.randrange(start, stop)
    data[position] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256), data[position] ^ 1 << rng.randrange(8)])


def resealed_part(original: Original, rng: random.Random) -> bytes:
    """Change the coded weights or a section of a segment, and correct all checksums but that of the symbols."""

    def change(head: SegmentHead, parts: list[bytes]) -> SegmentHead:
        marks = [head.weights, *head.sections]
        number = rng.randrange(len(parts))
        if number + 1 < len(parts) and rng.random() < 0.1:
            parts[number] = parts[number + 1]
        elif parts[number]:
            parts[number] = rng.choice([flip, flip, overwrite, truncate, insert])(bytearray(parts[number]), rng)
        data = parts[number]
        marks[number] = Part(len(data), zlib.crc32(data), marks[number].symbols_crc)
        return replace(head, weights=marks[0], sections=tuple(marks[1:]))

    return rebuilt(original, rng.randrange(len(original.heads)), change)


def resealed_numbers(original: Original, rng: random.Random) -> bytes:
    """Give a segment absurd lengths, counts or a network of another shape, with right checksums and the right hash."""

    def change(head: SegmentHead, parts: list[bytes]) -> SegmentHead:
        size = rng.choice([0, 1, 2, 255, 4096, 1 << 20, 1 << 30])
        kind = rng.choice(["length", "frames", "section", "network", "network"])
        if kind == "length":
            marks = [head.weights, *head.sections]
            number = rng.randrange(len(marks))
            marks[number] = replace(marks[number], length=size)
            return replace(head, weights=marks[0], sections=tuple(marks[1:]))
        if kind == "frames":
            return replace(head, frames=size, times=range(1))
        if kind == "section":
            return replace(head, section=size)
        values = {name: list(getattr(head.spec, name)) for name in ("strides", "widths", "kernels")}
        numbers = rng.choice(list(values.values()))
        numbers[rng.randrange(len(numbers))] = rng.choice([1, 3, 5, 15, 16, 64, 256, 4096])
        with suppress(DataError):  # not a description that can be written
            return replace(head, spec=DecoderSpec(head.spec.embed_dim, *map(tuple, values.values())))
        return replace(head, residual=not head.residual)

    return rebuilt(original, rng.randrange(len(original.heads)), change)


def rebuilt(original: Original, chosen: int, change: Callable[[SegmentHead, list[bytes]], SegmentHead]) -> bytes:
    """Return a file in which `change` returned the header of a segment and changed its parts in place."""
    header = pack_header(original.info)
    position, segments, entries = len(header), [], []
    for number, (entry, head) in enumerate(zip(original.entries, original.heads, strict=True)):
        start, parts = position + entry.head_length, []
        for part in (head.weights, *head.sections):
            parts.append(original.data[start : start + part.length])
            start += part.length
        position += entry.length
        head = change(head, parts) if number == chosen else head
        packed = head.pack(original.info.interval)
        segments.append(b"".join([packed, *parts]))
        entries.append(Entry(head.frames, len(segments[-1]), len(packed), zlib.crc32(packed)))
    return b"".join([header, *segments, pack_table(entries, header)])


RESEALED = [resealed_fields, resealed_part, resealed_part, resealed_numbers]


def outcome(path: Path, data: bytes) -> str:
    """Read a file as a video; returns "refused" or "frames"."""
    path.write_bytes(data)
    try:
        frames = list(read_frames(path))
    except DataError as error:
        text = str(error)
        assert "\n" not in text and str(path) in text, text
        return "refused"
    assert frames and all(frame.pixels.dtype == np.uint8 and frame.pixels.ndim == 3 for frame in frames)
    return "frames"


def check(originals: list[Original], tmp_path: Path, count: int, growth: Callable[[], int]) -> None:
    """Read `count` changed files, a third of which have right checksums; prints how many were refused."""
    path = tmp_path / "changed.hnv"
    found: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(number)
        original = rng.choice(originals)
        sealed = number % 3 == 0
        changed = (
            rng.choice(RESEALED)(original, rng) if sealed else rng.choice(MUTATIONS)(bytearray(original.data), rng)
        )
        if changed == original.data:
            found["unchanged"] += 1
            continue
        began = time.process_time()
        end = outcome(path, changed)
        assert time.process_time() - began < SECONDS, number
        assert sealed or end == "refused", number
        found[f"{end} with right checksums" if sealed else end] += 1
    assert growth() < MEMORY
    assert found["refused with right checksums"] > found["frames with right checksums"] > 0
    print(f"{dict(found)}, {growth() >> 20} MiB more memory")


def peak_memory() -> int:
    """Return the most memory that this process has used since its mark was reset, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


@pytest.fixture
def growth() -> Callable[[], int]:
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # sets the mark to the memory now
    before = peak_memory()
    return lambda: peak_memory() - before


def test_a_few_hundred_changed_files_are_refused(originals, tmp_path, growth):
    check(originals, tmp_path, 400, growth)


@pytest.mark.slow
def test_ten_thousand_changed_files_are_refused(originals, tmp_path, growth):
    check(originals, tmp_path, COUNT, growth)


def test_every_single_bit_counts(originals, tmp_path):
    """Each byte of a file has a bit changed once: opening or verifying notices."""
    path = tmp_path / "changed.hnv"
    data = originals[0].data
    for position in range(0, len(data), 1 if len(data) < 1500 else 5):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(DataError), HnvFile(path) as file:
            file.verify()
