"""Reads video files: finds the film among the streams, turns its frames upright, and refuses a file that is cut short.

A container may hold several video streams (cover pictures, previews), a display matrix that says how frames are to be
turned (phones write one), and frame times at uneven distances. FFmpeg reads a file that was cut short without an error
in many containers; what the container's own header announces is compared with what the file contains.
"""

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
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
_TIMED_HEADERS = ("matroska", "flv", "asf")  # no frame count, but a duration written by the muxer
_DURATION_SLACK = Fraction(1)  # seconds; muxers round, and count the last frame's duration differently


class Frame(NamedTuple):
    """One decoded frame: pixels (H, W, 3) uint8 RGB, upright; time in seconds, None where the file has none."""

    pixels: np.ndarray
    time: Fraction | None


class Timing(NamedTuple):
    """Average frames per second and the unit of the frame times in seconds, as the stream says."""

    rate: Fraction
    time_base: Fraction


def read_video(path: str | Path) -> Iterator[np.ndarray]:
    """Yields the frames of a video file in order, RGB uint8 (H, W, 3), turned upright.

    Raises:
        DataError: see `read_frames`.
    """
    for frame in read_frames(path):
        yield frame.pixels


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Yields the frames of a video file with their times. Frames differ in size where the file changes it.

    Raises:
        DataError: not a video, no film in it, the decoder fails, or the file contains less than its header announces.
    """
    count = 0
    try:
        with _open(path) as (container, film):
            for frame in _decode(container, film, path):
                yield frame
                count += 1
        if count == 0:
            raise DataError(f"{path} contains a video stream without a single frame. Export or fetch it again.")
    except DataError:
        raise
    except _DECODER_ERRORS as error:
        raise DataError(_broken(path, count, getattr(error, "strerror", None) or str(error))) from error


def read_timing(path: str | Path) -> Timing:
    """Returns the frame rate and the time base of a video file's film; 25/s where the file does not say.

    Raises:
        DataError: not a video, or no film in it.
    """
    try:
        with _open(path) as (_, film):
            rate = film.average_rate or film.guessed_rate
            return Timing(Fraction(rate) if rate and rate > 0 else Fraction(25), Fraction(film.time_base))
    except _DECODER_ERRORS as error:
        raise DataError(_broken(path, 0, getattr(error, "strerror", None) or str(error))) from error


# PyAV raises the plain ones for streams that it has no decoder for and for text that is no UTF-8
_DECODER_ERRORS = (av.error.FFmpegError, OSError, ValueError, RuntimeError, AttributeError, MemoryError)


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens the file; yields the container and the stream of the film."""
    # an absolute path, because FFmpeg takes "12:30.mp4" for an address of the protocol "12"
    with av.open(os.path.abspath(path), metadata_errors="replace") as container:
        if container.format.name in _NO_VIDEO:
            raise DataError(f"{path} is a text file. Give a video file or a folder of images.")
        streams = [s for s in container.streams.video if not s.disposition & _PICTURE]
        films = [s for s in streams if not s.disposition & Disposition.timed_thumbnails]
        if not films:
            kinds = "only a cover picture or thumbnails" if container.streams.video else "no video stream"
            raise DataError(f"{path} contains {kinds}. Give a video file or a folder of images.")
        index = films[0].index if len(films) == 1 else _choose(path, [s.index for s in films])
        yield container, container.streams[index]


def _choose(path: str | Path, candidates: list[int]) -> int:
    """Returns the index of the film among several video streams: not one with far fewer frames than another (a
    preview, a thumbnail); of the others the one marked as default, else the largest picture."""
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
    # the announced duration is that of the longest stream: where it is compared, every stream is read
    for packet in container.demux() if by_duration else container.demux(film):
        if by_duration and packet.pts is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index != film.index:
            continue
        if packet.size == 0 and packet.dts is not None:  # a dropped frame; to the decoder it would mean the end
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
    """Compares what was read with what the container announces.

    Packets, not frames, are compared: an edit list may hide frames of a sound file. AVI headers often announce frames
    that were never written; there the length of the file decides.
    """
    missing = missing_bytes(path) if announced == 0 or container.format.name in ("avi", "gif") else 0
    if packets < announced and container.format.name == "avi" and missing == 0:
        text = f"{path} is whole and contains {packets} frames, {announced - packets} fewer than its header announces"
        logger.warning(text)
    elif packets < announced:
        raise DataError(_broken(path, count, f"the header announces {announced} frames"))
    elif missing and container.format.name != "avi":
        raise DataError(_broken(path, count, f"the last {missing} bytes that its header announces are missing"))
    elif end is not None and container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
        if duration - end > max(_DURATION_SLACK, duration / 20):
            why = f"the header announces {float(duration):.2f} s, the file ends at {float(end):.2f} s"
            raise DataError(_broken(path, count, why))


def _broken(path: str | Path, frames: int, why: str) -> str:
    if frames == 0:
        return f"{path} cannot be read as a video ({why}). It may be cut short: fetch or copy it again."
    return f"{path} breaks off at frame {frames}: {why}. The file is damaged or cut short: fetch or copy it again."


def _upright(pixels: np.ndarray, frame: av.VideoFrame, path: str | Path) -> np.ndarray:
    """Turns and mirrors (H, W, 3) pixels as the frame's display matrix says.

    The matrix maps a coded pixel (x, y) to (a x + c y, b x + d y), so each of the eight axis-aligned cases is a
    transposition (where b and c count) and flips (where the remaining numbers are negative).

    Raises:
        DataError: a turn that is no multiple of 90 degrees.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > 0.02 * max(straight, crossed):  # about one degree
        angle = np.degrees(np.arctan2(b, a))
        raise DataError(
            f"{path}: its header asks to turn frames by {angle:.0f} degrees; only multiples of 90 are understood. "
            "Re-encode it: ffmpeg -i INPUT OUTPUT turns the pixels themselves."
        )
    if crossed > straight:
        pixels, x_sign, y_sign = pixels.transpose(1, 0, 2), c, b
    else:
        x_sign, y_sign = a, d
    return np.ascontiguousarray(pixels[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1])
