"""Test .hnv files as videos: reading anywhere, export to videos and images, ranges, descriptions."""

import builtins
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from tests.helpers.hnv import SMALL_INFO, long_hnv, small_hnv, small_segment
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.listing import is_video
from vislab.io.video import read_frames, read_timing
from vislab.systems.hnerv.codec import HnvDecoder, VideoInfo, write_hnv
from vislab.systems.hnerv.codec.playback import describe, export, parse_range, verify


def test_video_frames_and_read_frames_take_the_file(tmp_path):
    path = long_hnv(tmp_path / "a.HNV")
    with HnvDecoder(path) as decoder:
        expected = np.stack(list(decoder.decode(range(15))))
    dataset = VideoFrames(source=str(path), start=2, step=3)
    assert np.array_equal(dataset.frames, expected[2::3])
    frames = list(read_frames(path))
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(15)]
    assert np.array_equal(np.stack([frame.pixels for frame in frames]), expected)
    assert is_video(path) and read_timing(path) == (25, Fraction(1, 25))


def test_the_rate_of_irregular_videos_is_the_average(tmp_path):
    info = VideoInfo((17, 22), Fraction(1, 100), 4)
    write_hnv(tmp_path / "a.hnv", info, [replace(small_segment(frames=4), times=(10, 14, 22, 26))])
    assert read_timing(tmp_path / "a.hnv") == (20, Fraction(1, 100))
    assert [frame.time for frame in read_frames(tmp_path / "a.hnv")] == [Fraction(t, 100) for t in (10, 14, 22, 26)]


def test_a_damaged_end_is_noticed_before_the_first_frame(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.hnv"):
        next(read_frames(path))
    with pytest.raises(DataError, match=r"a\.hnv"):
        export(path, tmp_path / "images")
    assert [p.name for p in tmp_path.iterdir()] == ["a.hnv"]


def test_export_of_images_is_exact_and_named_by_frame(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    assert export(path, tmp_path / "images", frames="2:4") == 2
    with HnvDecoder(path) as decoder:
        for number in (2, 3):
            image = cv2.imread(str(tmp_path / "images" / f"{number:05d}.png"))[..., ::-1]
            assert np.array_equal(image, decoder.frame(number))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hnv", "images"]
    with pytest.raises(ConfigError, match="not an empty folder"):
        export(path, tmp_path / "images")


def test_export_of_videos_keeps_times(tmp_path):
    write_hnv(tmp_path / "a.hnv", SMALL_INFO, [replace(small_segment(frames=4), times=(0, 1, 5, 6))])
    export(tmp_path / "a.hnv", tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [round(frame.time * 25) for frame in frames] == [0, 1, 5, 6]
    with HnvDecoder(tmp_path / "a.hnv") as decoder:  # noise in colors, whose resolution is halved: compare brightness
        brightness = frames[2].to_ndarray(format="gray").ravel()
        original = decoder.frame(2)[:16, :22] @ (0.299, 0.587, 0.114)
    assert np.corrcoef(brightness, original.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("target", ["images", "a.mp4"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, target):
    path = small_hnv(tmp_path / "a.hnv")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vislab.systems.hnerv.codec.playback.write_png", full)
    monkeypatch.setattr("vislab.systems.hnerv.codec.playback.VideoWriter.add", full)
    with pytest.raises(CheckpointError, match="No space left"):
        export(path, tmp_path / target)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hnv"]


def test_other_targets_are_refused(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    (tmp_path / "b.mp4").mkdir()
    for target in ("a.avi", "a.hnv", "b.mp4"):
        with pytest.raises(ConfigError, match=target):
            export(path, tmp_path / target)


@pytest.mark.parametrize(
    "text, numbers", [(":", range(9)), ("2:5", range(2, 5)), ("7:", range(7, 9)), (":3", range(3)), ("4", range(4, 5))]
)
def test_ranges(text, numbers):
    assert parse_range(text, 9) == numbers


@pytest.mark.parametrize("text", ["", "a", "3:2", "3:3", "0:10", "9", "-1", "1:2:3"])
def test_impossible_ranges_are_refused(text):
    with pytest.raises(ConfigError, match="frames"):
        parse_range(text, 9)


def test_verification_counts_the_parts(tmp_path):
    assert "15 frames, 3 segments, 10 parts" in verify(long_hnv(tmp_path / "a.hnv"))


def test_description_adds_up(tmp_path):
    path = long_hnv(tmp_path / "a.hnv")
    text = describe(path)
    assert "22x17 pixels, 15 frames" in text and f"{path.stat().st_size} bytes" in text
    assert text.count("added to those before") == 1 and "strides 3,2, widths 8,7,6, kernels 1,3" in text


def test_formats_are_imported_only_when_needed(monkeypatch):
    imported = []
    original = builtins.__import__
    monkeypatch.setattr("vislab.io.video.import_module", lambda name: imported.append(name) or original(name))
    with pytest.raises(DataError):
        next(read_frames("a.mp4"))
    assert not imported
