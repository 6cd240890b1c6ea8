"""Use .hnv files as videos: frames with times for the rest of the package, export to other formats, a description."""

import os
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vislab.errors import CheckpointError, ConfigError
from vislab.io.video import Frame, Timing, VideoReader
from vislab.io.video_writer import VideoWriter
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.reader import HnvFile


def read_frames(path: str | os.PathLike, numbers: range | None = None) -> Iterator[Frame]:
    """Yield frames with their times in seconds; the whole file is checked before the first one.

    Args:
        path: Path of a .hnv file.
        numbers: Frame numbers. Default: all.

    Raises:
        DataError: The file is damaged.
    """
    with HnvDecoder(path) as decoder:
        file = decoder.file
        file.verify()
        numbers = range(file.frames) if numbers is None else numbers
        times = list(file.times())
        for number, pixels in zip(numbers, decoder.decode(numbers), strict=True):
            yield Frame(pixels, times[number] * file.info.base)


def read_timing(path: str | os.PathLike) -> Timing:
    """Return the average frame rate and the unit of frame times.

    Raises:
        DataError: The file is damaged.
    """
    with HnvFile(path) as file:
        return Timing(average_rate(file), file.info.base)


READER = VideoReader(read_frames, read_timing)


def average_rate(file: HnvFile) -> Fraction:
    """Return the frames per second, of a file with irregular times on average."""
    start = file.head(0).times[0]
    return Fraction(file.frames) / (file.info.base * max(1, file.end_time - start))


def parse_range(text: str, count: int) -> range:
    """Return the frame numbers of `A:B` (B excluded), `A:`, `:B` or `A`, of a video with `count` frames.

    Raises:
        ConfigError: Not such a range, an empty one, or one beyond the video.
    """
    match = re.fullmatch(r"(\d*)(:?)(\d*)", text)
    if not match or not any(match.groups()) or (not match[2] and not match[1]):
        raise ConfigError(f"frames {text!r} are not of the form 10:20, 10:, :20 or 10")
    start = int(match[1] or 0)
    stop = (int(match[3]) if match[3] else count) if match[2] else start + 1
    if not start < stop <= count:
        raise ConfigError(f"frames {text!r} are not in the video, which has frames 0 to {count - 1}")
    return range(start, stop)


def export(path: str | os.PathLike, target: str | os.PathLike, *, frames: str = ":") -> int:
    """Write frames to an .mp4 file (H.264, lossy) or as PNG files to a new folder (exact); returns their number.

    The target has its name only when it is complete.

    Args:
        path: Path of a .hnv file.
        target: An .mp4 file, which is replaced, or a folder that does not exist or is empty.
        frames: See `parse_range`.

    Raises:
        DataError: The file is damaged; nothing is written.
        ConfigError: An invalid range, another kind of target, or a folder with files.
        CheckpointError: The target cannot be written.
    """
    with HnvFile(path) as file:
        numbers = parse_range(frames, file.frames)
        rate, base = average_rate(file), file.info.base
    target = Path(target)
    suffix = target.suffix.lower()
    if suffix not in ("", ".mp4"):
        raise ConfigError(f"{target}: videos are written as .mp4, images to a folder without suffix")
    try:
        if suffix == ".mp4":
            if target.is_dir():
                raise ConfigError(f"{target} is a folder; choose another name for the video")
            target.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(target, rate, base) as video:
                for frame in read_frames(path, numbers):
                    video.add(frame.pixels, frame.time)
        else:
            _write_images(path, target, numbers)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {target}: {error.strerror or error}. Is the disk full or the folder read-only?"
        ) from error
    return len(numbers)


def _write_images(path: str | os.PathLike, folder: Path, numbers: range) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; choose another one for the images")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for number, frame in zip(numbers, read_frames(path, numbers), strict=True):
            partial.mkdir(parents=True, exist_ok=True)
            write_png(partial / f"{number:05d}.png", frame.pixels)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write an image (H, W, 3) RGB uint8."""
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())


def verify(path: str | os.PathLike) -> str:
    """Check and decode all parts of a file but the pixels; returns a line about it.

    Raises:
        DataError: The file is damaged.
    """
    with HnvFile(path) as file:
        file.verify()
        parts = sum(1 + len(file.head(i).sections) for i in range(len(file.entries)))
        return f"{path}: {file.frames} frames, {len(file.entries)} segments, {parts} parts; all checksums are right"


def describe(path: str | os.PathLike) -> str:
    """Return a text with the sizes of the parts of a file; all but the file header, tables and heads is not read.

    Raises:
        DataError: The headers are damaged.
    """
    with HnvFile(path) as file:
        height, width = file.info.size
        seconds = float((file.end_time - file.head(0).times[0]) * file.info.base)
        lines = [
            f"{path}: {width}x{height} pixels, {file.frames} frames, {seconds:.2f} s, "
            f"{float(average_rate(file)):.3f} frames per second",
            f"{file.size} bytes, {file.bits_per_pixel:.5f} bits per pixel, {len(file.entries)} segments",
        ]
        total = 0
        for i, entry in enumerate(file.entries):
            head = file.head(i)
            spec = head.spec
            embeddings = sum(part.length for part in head.sections)
            total += entry.length
            lines.append(
                f"segment {i}: {head.frames} frames in {len(head.sections)} sections, {spec.parameters} weights"
                f"{' added to those before' if head.residual else ''}; bytes: header {entry.head_length}, weights "
                f"{head.weights.length} ({8 * head.weights.length / spec.parameters:.2f} bits each), embeddings "
                f"{embeddings} ({embeddings / head.frames:.1f} per frame)"
            )
            lines.append(
                f"    network: embeddings {spec.embed_dim}x{head.embedding[0]}x{head.embedding[1]}, strides "
                f"{_row(spec.strides)}, widths {_row(spec.widths)}, kernels {_row(spec.kernels)}"
            )
        lines.append(f"file header, segment table, checksums: {file.size - total} bytes")
    return "\n".join(lines)


def _row(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
