"""Test videos to encode: facts, frame times, padded frames in a file."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from tests.helpers.hnv import SMALL_INFO, small_hnv, small_segment
from vislab.errors import DataError
from vislab.io.video_writer import VideoWriter
from vislab.systems.hnerv.codec import HnvDecoder, write_hnv
from vislab.systems.hnerv.codec.source import open_source, regular_times, store_frames


def test_a_video_file_with_irregular_times(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", rate=25, time_base=Fraction(1, 25)) as video:
        for i, time in enumerate((0, 1, 2, 5)):
            video.add(np.full((32, 48, 3), 40 * i, np.uint8), Fraction(time, 25))
    source = open_source(tmp_path / "a.mp4")
    assert source.info.size == (32, 48) and source.frames == 4 and source.audio == 0
    assert source.pixels == 4 * 32 * 48 and source.info.interval * source.info.base == Fraction(1, 25)
    assert [t * source.info.base for t in source.times] == [Fraction(t, 25) for t in (0, 1, 2, 5)]


def test_a_hnv_file_and_a_folder(tmp_path):
    source = open_source(small_hnv(tmp_path / "a.hnv"))
    assert source.info == SMALL_INFO and source.times == tuple(range(7))
    (tmp_path / "images").mkdir()
    for i in (2, 10):
        cv2.imwrite(str(tmp_path / f"images/{i}.png"), np.full((8, 9, 3), i, np.uint8))
    source = open_source(tmp_path / "images")
    assert source.info.rate == 25 and [int(image[0, 0, 0]) for image in source.images()] == [2, 10]


def test_frames_of_different_sizes_and_missing_videos_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for i in (1, 2):
        cv2.imwrite(str(tmp_path / f"images/{i}.png"), np.zeros((8, 8 + i, 3), np.uint8))
    with pytest.raises(DataError, match="frame 1 of .*8x10"):
        open_source(tmp_path / "images")
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "b.mp4")


def test_times_are_reduced_to_their_common_unit():
    unit = Fraction(1, 12800)
    times = [Fraction(t, 25) for t in range(5)]
    assert regular_times(times, Fraction(25), unit) == (Fraction(1, 25), 1, [0, 1, 2, 3, 4])
    late = [Fraction(t, 100) for t in (10, 14, 18, 30)]
    assert regular_times(late, Fraction(25), Fraction(1, 100)) == (Fraction(1, 50), 2, [5, 7, 9, 15])
    assert regular_times([Fraction(3)], Fraction(25), Fraction(1, 1000)) == (Fraction(1, 25), 1, [75])


@pytest.mark.parametrize("times", [[None, None, None], [Fraction(0), Fraction(1), Fraction(1)]])
def test_missing_and_repeated_times_become_regular(times):
    assert regular_times(times, Fraction(30), Fraction(1, 90)) == (Fraction(1, 30), 1, [0, 1, 2])


def test_stored_frames_are_padded_by_their_edges(tmp_path):
    write_hnv(tmp_path / "a.hnv", SMALL_INFO, [replace(small_segment(frames=6))])
    source = open_source(tmp_path / "a.hnv")
    frames = store_frames(source, 2, 5, (20, 24), tmp_path / "frames")
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        image = decoder.frame(3)
    assert frames.shape == (3, 3, 20, 24) and np.array_equal(frames[1, :, :17, :22], image.transpose(2, 0, 1))
    assert (frames[1, :, 17:, :22] == image[16].transpose(1, 0)[:, None]).all()
    assert (tmp_path / "frames").stat().st_size == frames.size
    with pytest.raises(DataError, match="frame 6 is missing"):
        store_frames(source, 4, 8, (20, 24), tmp_path / "frames")
