"""Videos to encode: facts and frame times in one pass, and the frames of a segment in a file, padded."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import gcd
from pathlib import Path

import av
import numpy as np

from vislab.datasets.video_frames import CLIPS, find_clip, read_images
from vislab.errors import DataError
from vislab.io.paths import expand_path
from vislab.io.video import READERS, Frame, read_frames, read_timing
from vislab.systems.hnerv.codec.content import VideoInfo

logger = logging.getLogger(__name__)
_IMAGE_RATE = 25


@dataclass(frozen=True)
class Source:
    """A video to encode.

    Args:
        path: Video file, or folder of images.
        info: Facts for the file header.
        times: Time of each frame in units of `info.base`.
        audio: Number of audio streams.
    """

    path: Path
    info: VideoInfo
    times: tuple[int, ...]
    audio: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def pixels(self) -> int:
        """Number of pixels of all frames."""
        return self.frames * self.info.size[0] * self.info.size[1]

    def images(self) -> Iterator[np.ndarray]:
        """Yield all frames (H, W, 3) RGB uint8."""
        return (frame.pixels for frame in _frames(self.path))


def open_source(source: str | os.PathLike) -> Source:
    """Read a video once and return the facts about it; one frame is in memory at a time.

    Args:
        source: Video file, folder of images, or name of a clip in `CLIPS`.

    Raises:
        DataError: The video is missing or damaged, or its frames differ in size.
    """
    path = find_clip(str(source)) if str(source) in CLIPS else Path(expand_path(str(source), "the video"))
    if not path.exists():
        raise DataError(f"the video {path} does not exist")
    size, times = None, []
    for frame in _frames(path):
        size = size or frame.pixels.shape[:2]
        if frame.pixels.shape[:2] != size:
            raise DataError(
                f"frame {len(times)} of {path} is {frame.pixels.shape[0]}x{frame.pixels.shape[1]}, the frames before "
                f"are {size[0]}x{size[1]} (height x width): re-encode the video with one size"
            )
        times.append(frame.time)
    if size is None:
        raise DataError(f"{path} has no frames")
    rate, unit, matrix, audio = _stream_facts(path)
    base, interval, ticks = regular_times(times, rate, unit)
    return Source(path, VideoInfo(size, base, interval, matrix), tuple(ticks), audio)


def _frames(path: Path) -> Iterator[Frame]:
    if path.is_dir():
        return (Frame(pixels, None) for pixels in read_images(path))
    return read_frames(path)


def _stream_facts(path: Path) -> tuple[Fraction, Fraction, int, int]:
    """Return frame rate, unit of times, code of the color matrix, number of audio streams."""
    if path.is_dir():
        return Fraction(_IMAGE_RATE), Fraction(1, _IMAGE_RATE), 2, 0
    timing = read_timing(path)
    matrix, audio = 2, 0
    if path.suffix.lower() not in READERS:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            audio = len(container.streams.audio)
            matrix = int(getattr(container.streams.video[0].codec_context, "colorspace", 2))
    return timing.rate, timing.time_base, matrix if 0 <= matrix < 256 else 2, audio


def regular_times(times: list[Fraction | None], rate: Fraction, unit: Fraction) -> tuple[Fraction, int, list[int]]:
    """Return a unit, the most frequent distance of frames, and times of the frames in units.

    Times that are missing or do not increase are replaced by those of the frame rate.
    """
    ticks = [None if time is None else round(time / unit) for time in times]
    if None in ticks or any(b <= a for a, b in zip(ticks, ticks[1:], strict=False)):
        if None not in ticks:
            logger.warning("the times of the frames do not increase: frames get regular times at the average rate")
        return 1 / rate, 1, list(range(len(times)))
    steps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)] or [max(1, round(1 / rate / unit))]
    interval = max(set(steps), key=lambda step: (steps.count(step), -step))
    common = gcd(*steps, ticks[0])
    return unit * common, interval // common, [tick // common for tick in ticks]


def store_frames(source: Source, start: int, stop: int, size: tuple[int, int], path: Path) -> np.ndarray:
    """Write frames start to stop - 1, padded to `size` by their last row and column, into a file.

    Args:
        source: The video.
        start: First frame.
        stop: Frame after the last one.
        size: Height and width with padding.
        path: File for the pixels, which is replaced; its size is that of the frames.

    Returns:
        The frames (T, 3, height, width) uint8, mapped from the file, so that they take no memory of the process.
    """
    frames = np.memmap(path, np.uint8, "w+", shape=(stop - start, 3, *size))
    height, width = source.info.size
    padding = ((0, size[0] - height), (0, size[1] - width), (0, 0))
    count = 0
    for pixels in islice(source.images(), start, stop):
        frames[count] = np.pad(pixels, padding, "edge").transpose(2, 0, 1)
        count += 1
    if count != stop - start:
        raise DataError(f"{source.path} changed while it was encoded: frame {start + count} is missing")
    return frames
