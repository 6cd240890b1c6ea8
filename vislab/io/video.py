"""Read video files: select the main video stream, apply the display rotation, and detect truncated files.

Containers may have several video streams (cover pictures, previews), a display matrix with the rotation of the frames
(written by phones), and variable frame rates. FFmpeg reads truncated files of many containers without an error, so the
frame count or duration in the header is compared with the contents of the file. Formats that FFmpeg does not know have
readers elsewhere, see `READERS`.
"""

import logging
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition

from vislab.errors import DataError
from vislab.io.container_size import missing_bytes

logger = logging.getLogger(__name__)

_PICTURE = Disposition.attached_pic | Disposition.still_image
_NO_VIDEO = ("tty",)  # FFmpeg renders text files
_TIMED_HEADERS = ("matroska", "flv", "asf")  # no frame count in the header, but a duration
_DURATION_SLACK = Fraction(1)  # seconds; muxers round durations and differ in the duration of the last frame


class Frame(NamedTuple):
    """A decoded frame: pixels (H, W, 3) uint8 RGB, upright; time in seconds, None if the file has no times."""

    pixels: np.ndarray
    time: Fraction | None


class Timing(NamedTuple):
    """Average frame rate, and unit of the frame times in seconds."""

    rate: Fraction
    time_base: Fraction


class VideoReader(NamedTuple):
    """Functions that read the videos of a format: `frames` and `timing` of a path, raising DataError."""

    frames: Callable[[str | Path], Iterator[Frame]]
    timing: Callable[[str | Path], Timing]


READERS: dict[str, str] = {".hnv": "vislab.systems.hnerv.codec.playback"}
"""Module with a VideoReader named `READER`, by suffix; it is imported when a file with that suffix is read."""


def _find_reader(path: str | Path) -> VideoReader | None:
    """Return the reader of formats that FFmpeg does not know."""
    module = READERS.get(os.path.splitext(path)[1].lower())
    return None if module is None else import_module(module).READER


def read_video(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video file in order, RGB uint8 (H, W, 3), upright.

    Raises:
        DataError: See `read_frames`.
    """
    for frame in read_frames(path):
        yield frame.pixels


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Yield the frames of a video file with their times. Frames may differ in size.

    Raises:
        DataError: Not a video, no video stream, a decoder error, or less data than stated in the header.
    """
    reader = _find_reader(path)
    if reader is not None:
        yield from reader.frames(path)
        return
    count = 0
    try:
        with _open(path) as (container, film):
            for frame in _decode(container, film, path):
                yield frame
                count += 1
        if count == 0:
            raise DataError(f"{path} contains a video stream without frames. Export or download it again.")
    except DataError:
        raise
    except _DECODER_ERRORS as error:
        raise DataError(_broken(path, count, getattr(error, "strerror", None) or str(error))) from error


def read_timing(path: str | Path) -> Timing:
    """Return the frame rate and the time base of a video file; 25 frames per second if the rate is unknown.

    Raises:
        DataError: Not a video, or no video stream.
    """
    reader = _find_reader(path)
    if reader is not None:
        return reader.timing(path)
    try:
        with _open(path) as (_, film):
            rate = film.average_rate or film.guessed_rate
            return Timing(Fraction(rate) if rate and rate > 0 else Fraction(25), Fraction(film.time_base))
    except _DECODER_ERRORS as error:
        raise DataError(_broken(path, 0, getattr(error, "strerror", None) or str(error))) from error


# PyAV raises the built-in ones for streams without a decoder and for text that is not UTF-8
_DECODER_ERRORS = (av.error.FFmpegError, OSError, ValueError, RuntimeError, AttributeError, MemoryError)


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file; yields the container and the main video stream."""
    # an absolute path, because FFmpeg would read "12:30.mp4" as a URL with protocol "12"
    with av.open(os.path.abspath(path), metadata_errors="replace") as container:
        if container.format.name in _NO_VIDEO:
            raise DataError(f"{path} is a text file. Pass a video file or a folder of images.")
        streams = [s for s in container.streams.video if not s.disposition & _PICTURE]
        films = [s for s in streams if not s.disposition & Disposition.timed_thumbnails]
        if not films:
            kinds = "only a cover picture or thumbnails" if container.streams.video else "no video stream"
            raise DataError(f"{path} contains {kinds}. Pass a video file or a folder of images.")
        index = films[0].index if len(films) == 1 else _choose(path, [s.index for s in films])
        yield container, container.streams[index]


def _choose(path: str | Path, candidates: list[int]) -> int:
    """Return the index of the main video stream.

    Streams with less than half the frames of another (previews, thumbnails) come last; of the others, the stream marked
    as default is preferred, then the one with the largest frames.
    """
    with av.open(os.path.abspath(path), metadata_errors="replace") as container:
        packets = dict.fromkeys(candidates, 0)
        for packet in container.demux([container.streams[i] for i in candidates]):
            packets[packet.stream.index] += packet.size > 0
        most = max(packets.values())

        def rank(index: int) -> tuple:
            stream = container.streams[index]
            return (
                2 * packets[index] > most,
                bool(stream.disposition & Disposition.default),
                stream.width * stream.height,
                -index,
            )

        best = max(candidates, key=rank)
        sizes = ", ".join(
            f"stream {i} of {container.streams[i].width}x{container.streams[i].height} with {packets[i]} frames"
            for i in candidates
        )
    logger.warning(f"{path} contains {len(candidates)} video streams ({sizes}): stream {best} is read")
    return best


def _decode(container: av.container.InputContainer, film: av.VideoStream, path: str | Path) -> Iterator[Frame]:
    announced = film.frames
    by_duration = container.format.name.startswith(_TIMED_HEADERS)
    count = packets = 0
    end = Fraction(0)
    # the duration in the header is that of the longest stream, so all streams are read if it is compared
    for packet in container.demux() if by_duration else container.demux(film):
        if by_duration and packet.pts is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index != film.index:
            continue
        if packet.size == 0 and packet.dts is not None:  # a dropped frame: would flush the decoder
            packets += 1
            continue
        packets += packet.size > 0
        damaged = packet.is_corrupt
        for frame in packet.decode():
            damaged |= frame.is_corrupt
            if damaged:
                break
            time = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
            yield Frame(_upright(frame.to_ndarray(format="rgb24"), frame, path), time)
            count += 1
        if damaged:
            raise DataError(_broken(path, count, f"frame {count} is damaged"))
    _refuse_cut(path, container, count, packets, announced, end if by_duration else None)


def _refuse_cut(
    path: str | Path,
    container: av.container.InputContainer,
    count: int,
    packets: int,
    announced: int,
    end: Fraction | None,
) -> None:
    """Raise DataError if less was read than stated in the header of the container.

    Packets are compared instead of frames, since an edit list may hide frames of an intact file. AVI headers often
    count frames that were never written, so for AVI the file size decides.
    """
    missing = missing_bytes(path) if announced == 0 or container.format.name in ("avi", "gif") else 0
    if packets < announced and container.format.name == "avi" and missing == 0:
        fewer = announced - packets
        text = f"{path} is complete and contains {packets} frames, {fewer} fewer than stated in its header"
        logger.warning(text)
    elif packets < announced:
        raise DataError(_broken(path, count, f"the header states {announced} frames"))
    elif missing and container.format.name != "avi":
        raise DataError(_broken(path, count, f"the last {missing} bytes are missing"))
    elif end is not None and container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
        if duration - end > max(_DURATION_SLACK, duration / 20):
            why = f"the header states {float(duration):.2f} s, the file ends at {float(end):.2f} s"
            raise DataError(_broken(path, count, why))


def _broken(path: str | Path, frames: int, why: str) -> str:
    if frames == 0:
        return f"{path} cannot be read as a video ({why}). It may be truncated: download or copy it again."
    return f"{path} ends at frame {frames}: {why}. The file is damaged or truncated: download or copy it again."


def _upright(pixels: np.ndarray, frame: av.VideoFrame, path: str | Path) -> np.ndarray:
    """Rotate and flip (H, W, 3) pixels according to the display matrix of the frame.

    The matrix maps a coded pixel (x, y) to (a x + c y, b x + d y), so each of the eight axis-aligned cases is an
    optional transposition (if b and c are non-zero) and flips (along axes with a negative coefficient).

    Raises:
        DataError: The rotation is not a multiple of 90 degrees.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > 0.02 * max(straight, crossed):  # about one degree
        angle = np.degrees(np.arctan2(b, a))
        raise DataError(
            f"{path}: its header has a rotation of {angle:.0f} degrees; only multiples of 90 are supported. "
            "Re-encode it: ffmpeg -i INPUT OUTPUT rotates the pixels."
        )
    if crossed > straight:
        pixels, x_sign, y_sign = pixels.transpose(1, 0, 2), c, b
    else:
        x_sign, y_sign = a, d
    return np.ascontiguousarray(pixels[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1])
