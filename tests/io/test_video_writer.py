"""Test written videos with PyAV: frames, sizes and times."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from vislab.io.video_writer import VideoWriter


def test_video_writer_keeps_frames_and_rate(tmp_path):
    frames = [np.full((33, 48, 3), value, np.uint8) for value in (20, 120, 220)]
    with VideoWriter(tmp_path / "new" / "v.mp4", rate=12) as video:
        for frame in frames:
            video.add(frame)
        video.add(np.full((66, 96, 3), 220, np.uint8))  # another size
    with av.open(str(tmp_path / "new" / "v.mp4")) as container:
        back = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 12
    assert [f.shape for f in back] == [(32, 48, 3)] * 4
    assert all(abs(float(f.mean()) - v) < 4 for f, v in zip(back, (20, 120, 220, 220), strict=True))


def gray(value: int, h: int = 32, w: int = 48) -> np.ndarray:
    return np.full((h, w, 3), value, np.uint8)


def times_of(path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def test_times_begin_at_zero_and_never_stand_still(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=25, time_base=Fraction(1, 1000)) as video:
        for time in (Fraction(5), Fraction(51, 10), None, Fraction(51, 10), Fraction(6)):
            video.add(gray(100), time)
    expected = [0, Fraction(100, 1000), Fraction(140, 1000), Fraction(141, 1000), 1]
    assert [round(time * 1000) for time in times_of(tmp_path / "v.mp4")] == [round(time * 1000) for time in expected]


def test_a_broken_off_video_leaves_what_was_there(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "v.mp4") as video:
        video.add(gray(100))
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == ["v.mp4"] and (tmp_path / "v.mp4").read_bytes() == b"old"
    with VideoWriter(tmp_path / "none.mp4"):
        pass
    assert os.listdir(tmp_path) == ["v.mp4"]


def test_the_smallest_frames(tmp_path):
    with VideoWriter(tmp_path / "v.mp4") as video:
        video.add(gray(200, 1, 3))
    with av.open(str(tmp_path / "v.mp4")) as container:
        (frame,) = container.decode(video=0)
    assert (frame.height, frame.width) == (2, 2)
