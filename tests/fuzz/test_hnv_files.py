"""Fuzz .hnv files: changed ones are refused before a pixel, with a message of one line, in little memory and time.

Some changes come with right checksums, as a program with a fault could write them; those files either are refused or
have frames. VISLAB_FUZZ sets the number of files in the slow test (default 10000):

    VISLAB_FUZZ=300 python -m pytest tests/fuzz/test_hnv_files.py -m slow
"""

import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.hnv import long_hnv, small_hnv
from vislab.errors import DataError
from vislab.io.video import read_frames
from vislab.systems.hnerv.codec.reader import HnvFile

COUNT = int(os.environ.get("VISLAB_FUZZ", "10000"))
MEMORY = 1 << 30


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("hnv")
    paths = [small_hnv(folder / "a.hnv"), long_hnv(folder / "b.hnv")]
    for path in paths:  # no good file is refused
        assert len(list(read_frames(path))) in (7, 15)
    return [path.read_bytes() for path in paths]


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


def resealed(data: bytearray, rng: random.Random) -> bytes:
    """Change a byte of the file header, the segment table or a segment header, and correct all their checksums."""
    header = 10 + data[5]
    table_length = struct.unpack("<I", data[-12:-8])[0]
    table = len(data) - 12 - table_length
    head_length = min(700, table - header)
    start, length = rng.choice([(6, data[5]), (table, table_length - 4), (header, head_length)])
    position = start + rng.randrange(length)
    old_head = zlib.crc32(data[header : header + _head_length(data)])
    data[position] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256), data[position] ^ 1 << rng.randrange(8)])
    data[header - 4 : header] = struct.pack("<I", zlib.crc32(data[: header - 4]))
    new_head = zlib.crc32(data[header : header + _head_length(data)])
    body = bytes(data[table : table + table_length]).replace(
        struct.pack("<I", old_head), struct.pack("<I", new_head), 1
    )
    data[table : table + table_length] = body
    checksum = zlib.crc32(bytes(data[: header - 4]) + body + bytes(data[-12:-8]))
    data[-8:-4] = struct.pack("<I", checksum)
    return bytes(data)


def _head_length(data: bytes) -> int:
    """Length of the first segment header, from the table: count, frames, length, header length."""
    table = len(data) - 12 - struct.unpack("<I", data[-12:-8])[0]
    position = table
    numbers = []
    while len(numbers) < 4 and position < len(data):
        value = shift = 0
        while position < len(data):
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        numbers.append(value)
    return numbers[-1]


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


def check(originals: list[bytes], tmp_path: Path, count: int, limited: Callable) -> None:
    path = tmp_path / "changed.hnv"
    for number in range(count):
        rng = random.Random(number)
        original = rng.choice(originals)
        changed = rng.choice(MUTATIONS)(bytearray(original), rng)
        if changed in originals:
            continue
        assert outcome(path, changed) == "refused", number
        if number % 4 == 0:
            outcome(path, resealed(bytearray(original), rng))
    assert limited() < MEMORY


def peak_memory() -> int:
    """Return the most memory that this process has used, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


@pytest.fixture
def growth() -> Callable[[], int]:
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
    data = originals[0]
    for position in range(0, len(data), 1 if len(data) < 1500 else 5):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(DataError), HnvFile(path) as file:
            file.verify()
