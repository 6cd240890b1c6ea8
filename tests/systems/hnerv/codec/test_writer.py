"""Test writing and appending: sizes, atomic replacement, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.hnv import SMALL_INFO, long_hnv, residual_of, small_hnv, small_segment
from vislab.errors import CheckpointError, DataError
from vislab.systems.hnerv.codec.content import VideoInfo
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.writer import append_segments, coded_size, write_hnv


def test_the_projected_size_is_the_size_of_the_file(tmp_path):
    segment = small_segment()
    write_hnv(tmp_path / "a.hnv", SMALL_INFO, [segment])
    assert coded_size(SMALL_INFO, segment) == (tmp_path / "a.hnv").stat().st_size


def test_appending_gives_the_same_file_as_writing_at_once(tmp_path):
    whole = long_hnv(tmp_path / "whole.hnv")
    first = small_segment(0, frames=5)
    path = tmp_path / "a.hnv"
    write_hnv(path, SMALL_INFO, [first])
    append_segments(path, [residual_of(first)])
    append_segments(path, [small_segment(1, frames=6, section=2)])
    assert path.read_bytes() == whole.read_bytes()


def test_segments_are_taken_one_at_a_time(tmp_path):
    alive = []

    def segments():
        for seed in range(3):
            alive.append(seed)
            yield small_segment(seed)

    write_hnv(tmp_path / "a.hnv", SMALL_INFO, segments())
    assert HnvFile(tmp_path / "a.hnv").frames == 21 and alive == [0, 1, 2]


def test_slow_changes_are_coded_as_differences_and_jumps_are_not(tmp_path):
    slow = small_segment(frames=40, section=40)
    symbols = np.random.default_rng(0).integers(0, 2, slow.embeddings.symbols.shape, dtype=np.int32)
    jumps = replace(slow, embeddings=replace(slow.embeddings, symbols=symbols))
    for name, segment in (("slow", slow), ("jumps", jumps)):
        write_hnv(tmp_path / name, SMALL_INFO, [segment])
    assert HnvFile(tmp_path / "slow").head(0).differences
    assert not HnvFile(tmp_path / "jumps").head(0).differences


def test_an_existing_file_survives_a_failed_write(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    before = path.read_bytes()

    def failing():
        yield small_segment(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_hnv(path, SMALL_INFO, failing())
    with pytest.raises(KeyboardInterrupt):
        append_segments(path, failing())
    with pytest.raises(DataError, match="no segment"):
        write_hnv(path, SMALL_INFO, [])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.hnv"]
    with pytest.raises(CheckpointError, match="No space"):
        write_hnv(path, SMALL_INFO, _full_disk())
    assert path.read_bytes() == before


def _full_disk():
    raise OSError(28, "No space left on device")
    yield


def test_a_damaged_file_is_not_appended_to(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        append_segments(path, [small_segment(1)])


@pytest.mark.parametrize(
    "info, segments, words",
    [
        (VideoInfo((40, 22)), lambda: [small_segment()], "do not fit frames of 40x22"),
        (SMALL_INFO, lambda: [residual_of(small_segment())], "no segment is before"),
        (SMALL_INFO, lambda: [small_segment(), replace(small_segment(), times=tuple(range(7)))], "before the end 7"),
    ],
)
def test_inconsistent_segments_are_refused(tmp_path, info, segments, words):
    with pytest.raises(DataError, match=words):
        write_hnv(tmp_path / "a.hnv", info, segments())
    assert not list(tmp_path.iterdir())
