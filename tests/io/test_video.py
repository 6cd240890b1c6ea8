"""Test video files: rotation, times, stream selection, and errors for truncated files.
Expected values are the rotation and times of PyAV, and losslessly encoded frames.
"""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from vislab.datasets.video_frames import VideoFrames
from vislab.errors import DataError
from vislab.io import video as video_files
from vislab.io.video import read_frames, read_timing, read_video

ONE = 0x10000
MATRICES = {  # a, b, c, d of the display matrix, and the turn that numpy makes of it
    "90": ((0, ONE, -ONE, 0), lambda f: np.rot90(f, -1)),
    "180": ((-ONE, 0, 0, -ONE), lambda f: np.rot90(f, 2)),
    "270": ((0, -ONE, ONE, 0), lambda f: np.rot90(f, 1)),
    "mirrored": ((-ONE, 0, 0, ONE), lambda f: f[:, ::-1]),
    "upside down": ((ONE, 0, 0, -ONE), lambda f: f[::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda f: f.transpose(1, 0, 2)),
}


def noise(count=12, height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def encode(container, stream, frames, times=None):
    for i, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        if times is not None:
            frame.pts, frame.time_base = times[i], Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def add_stream(container, shape, codec="libx264rgb", pixels="rgb24", **options):
    stream = container.add_stream(codec, rate=25, options=options)
    stream.height, stream.width, stream.pix_fmt = *shape[:2], pixels
    return stream


def encode_sound(container, stream, seconds):
    for start in range(0, 48000 * seconds, 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write(path, frames, codec="libx264rgb", pixels="rgb24", times=None, options=None, **codec_options):
    """An RGB H.264 file without loss, so that pixels come back exactly."""
    if codec == "libx264rgb":
        codec_options.setdefault("qp", "0")
    with av.open(str(path), "w", options=options or {}) as container:
        encode(container, add_stream(container, frames[0].shape, codec, pixels, **codec_options), frames, times)
    return path


def with_matrix(path, numbers):
    """The mp4 file with another display matrix in its track header."""
    a, b, c, d = numbers
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_turned_and_mirrored_as_the_header_says(tmp_path, name):
    frames = noise(3)
    numbers, turned = MATRICES[name]
    path = with_matrix(write(tmp_path / "v.mp4", frames), numbers)
    read = VideoFrames(source=str(path)).frames
    np.testing.assert_array_equal(read, [turned(frame) for frame in frames])
    if name.isdigit():  # PyAV's angle is counter-clockwise
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).rotation % 360 == (-int(name)) % 360


def test_a_turn_that_is_no_multiple_of_90_degrees_is_refused(tmp_path):
    path = with_matrix(write(tmp_path / "v.mp4", noise(2)), (ONE // 2, ONE // 2, -ONE // 2, ONE // 2))
    with pytest.raises(DataError, match="v.mp4: its header has a rotation of 45 degrees"):
        list(read_video(path))


def test_the_crop_is_that_of_the_upright_frame(tmp_path):
    frames = noise(2)
    path = with_matrix(write(tmp_path / "v.mp4", frames), MATRICES["90"][0])
    read = VideoFrames(source=str(path), crop=(60, 40)).frames
    np.testing.assert_array_equal(read[0], np.rot90(frames[0], -1)[2:62, 4:44])


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_stream_is_not_the_film(tmp_path, suffix, first):
    film, thumbnail = noise(6), noise(1, 120, 160)
    with av.open(str(tmp_path / f"v.{suffix}"), "w") as container:
        parts = [(thumbnail, "mjpeg", "yuvj420p"), (film, "libx264rgb", "rgb24")]
        parts = parts if first else parts[::-1]
        streams = [add_stream(container, f[0].shape, codec, pixels, qp="0") for f, codec, pixels in parts]
        for stream, (frames, _, _) in zip(streams, parts, strict=True):
            encode(container, stream, frames)
    np.testing.assert_array_equal(list(read_video(tmp_path / f"v.{suffix}")), film)


def test_an_attached_picture_is_not_the_film(tmp_path):
    film, cover = noise(4), noise(1, 96, 96)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        picture = add_stream(container, cover[0].shape, "mjpeg", "yuvj420p")
        picture.disposition = av.stream.Disposition.attached_pic.value
        stream = add_stream(container, film[0].shape, qp="0")
        encode(container, picture, cover)
        encode(container, stream, film)
    np.testing.assert_array_equal(list(read_video(tmp_path / "v.mp4")), film)


def test_of_two_films_the_larger_is_read_and_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(video_files.logger, "warning", said.append)
    small, large = noise(6, 32, 32), noise(6)
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        streams = [add_stream(container, f[0].shape, qp="0") for f in (small, large)]
        for stream, frames in zip(streams, (small, large), strict=True):
            stream.disposition = 0
            encode(container, stream, frames)
    assert next(read_video(tmp_path / "v.mkv")).shape == large[0].shape
    assert "contains 2 video streams" in said[0] and "stream 1 is read" in said[0]


def test_a_sound_file_with_a_cover_picture_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        encode_sound(container, container.add_stream("aac", rate=48000), 1)
    with pytest.raises(DataError, match="sound.mp4 contains no video stream"):
        list(read_video(tmp_path / "sound.mp4"))
    with av.open(str(tmp_path / "cover.mp4"), "w") as container:
        picture = add_stream(container, (96, 96), "mjpeg", "yuvj420p")
        picture.disposition = av.stream.Disposition.attached_pic.value
        sound = container.add_stream("aac", rate=48000)
        encode(container, picture, noise(1, 96, 96))
        encode_sound(container, sound, 1)
    with pytest.raises(DataError, match="cover.mp4 contains only a cover picture"):
        list(read_video(tmp_path / "cover.mp4"))


CONTAINERS = [
    ("mkv", "libx264", {}),
    ("mkv", "libx264", {"live": "1"}),
    ("webm", "libvpx-vp9", {}),
    ("mp4", "libx264", {"movflags": "faststart"}),
    ("mp4", "libx264", {"movflags": "frag_every_frame+empty_moov"}),
    ("mov", "mjpeg", {}),
    ("avi", "mpeg4", {}),
    ("ts", "libx264", {}),
    ("flv", "libx264", {}),
    ("wmv", "wmv2", {}),
    ("gif", "gif", {}),
    ("y4m", "rawvideo", {}),
]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"), CONTAINERS, ids=[f"{s}-{'-'.join(o) or 'plain'}" for s, _, o in CONTAINERS]
)
def test_a_file_is_whole_or_refused(tmp_path, suffix, codec, options):
    """In every container: whole it gives all frames, and cut short at any place but a border it is refused."""
    pixels = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    whole = write(tmp_path / f"v.{suffix}", noise(), codec, pixels, options=options)
    assert len(list(read_video(whole))) == 12
    data = whole.read_bytes()
    for share in (0.13, 0.6, 0.97):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=rf"cut\.{suffix} (ends at frame|cannot be read|contains no video)"):
            list(read_video(cut))


def test_sound_that_is_longer_than_the_film_is_no_reason_to_refuse(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = add_stream(container, (48, 64), qp="0")
        sound = container.add_stream("aac", rate=48000)
        encode(container, stream, noise(4))
        encode_sound(container, sound, 4)
    assert len(list(read_video(tmp_path / "v.mkv"))) == 4


def test_a_whole_avi_whose_header_counts_one_frame_too_many(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(video_files.logger, "warning", said.append)
    path = write(tmp_path / "v.avi", noise(), "mpeg4", "yuv420p")
    data = bytearray(path.read_bytes())
    for name, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # total frames; length of the stream
        at = data.find(name) + offset
        assert struct.unpack_from("<I", data, at)[0] == 12
        struct.pack_into("<I", data, at, 13)
    path.write_bytes(data)
    assert len(list(read_video(path))) == 12
    assert "v.avi is complete and contains 12 frames, 1 fewer than stated in its header" in said[0]
    path.write_bytes(data[:-200])
    with pytest.raises(DataError, match="v.avi ends at frame"):
        list(read_video(path))


def test_a_change_of_size_is_refused_in_a_set_of_frames(tmp_path):
    first, second = write(tmp_path / "a.h264", noise(4)), write(tmp_path / "b.h264", noise(3, 32, 32))
    (tmp_path / "v.h264").write_bytes(first.read_bytes() + second.read_bytes())
    assert [f.shape[0] for f in read_video(tmp_path / "v.h264")] == [48] * 4 + [32] * 3
    with pytest.raises(DataError, match="frame 4 of .*v.h264 is 32x32, the frames before it are 48x64"):
        VideoFrames(source=str(tmp_path / "v.h264"))
    assert len(VideoFrames(source=str(tmp_path / "v.h264"), stop=4)) == 4


def test_uneven_frame_times_are_those_of_the_file(tmp_path):
    path = write(tmp_path / "v.mp4", noise(5), times=[0, 1, 2, 50, 100])
    assert [frame.time for frame in read_frames(path)] == [0, Fraction(1, 25), Fraction(2, 25), 2, 4]
    with av.open(str(path)) as container:
        assert read_timing(path) == (container.streams.video[0].average_rate, container.streams.video[0].time_base)


def test_a_colon_in_the_name_is_no_protocol(tmp_path, monkeypatch):
    write(tmp_path / "12:30.mp4", noise(2))
    monkeypatch.chdir(tmp_path)
    assert len(list(read_video("12:30.mp4"))) == 2


def test_what_is_no_video(tmp_path):
    (tmp_path / "notes.txt").write_text("a text file\n" * 20)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "zero.mkv").write_bytes(b"")
    for name in ("notes.txt", "folder.mp4", "zero.mkv", "missing.mp4"):
        with pytest.raises(DataError, match=name):
            list(read_video(tmp_path / name))


def test_a_video_without_a_single_frame(tmp_path):
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        container.mux(add_stream(container, (48, 64)).encode())
    with pytest.raises(DataError, match="none.mkv"):
        list(read_video(tmp_path / "none.mkv"))
    with pytest.raises(DataError, match="none.mkv"):
        VideoFrames(source=str(tmp_path / "none.mkv"))


def test_bytes_behind_a_whole_file_are_no_reason_to_refuse(tmp_path):
    for suffix, codec in (("mkv", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("mp4", "libx264")):
        path = write(tmp_path / f"v.{suffix}", noise(), codec, "yuv420p")
        for behind in (bytes(3), bytes(100), b"\x7f\xff\xff\xffTAG of some kind" * 9):
            (tmp_path / f"more.{suffix}").write_bytes(path.read_bytes() + behind)
            assert len(list(read_video(tmp_path / f"more.{suffix}"))) == 12


def test_a_gif_is_not_taken_for_a_transport_stream(tmp_path):
    data = bytearray(write(tmp_path / "v.gif", noise(), "gif", "rgb8").read_bytes())
    data[188] = data[376] = ord("G")  # in the color table
    (tmp_path / "v.gif").write_bytes(data)
    assert len(list(read_video(tmp_path / "v.gif"))) == 12
