"""Encode a video from the command line: options, a live line, and lines about the result."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from vislab.errors import ConfigError
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.encoding import EncodeOptions, Encoding, Status
from vislab.systems.hnerv.codec.plan import Target
from vislab.systems.hnerv.codec.source import Source, open_source
from vislab.systems.hnerv.codec.task import Task, mean_measures


def encode(
    video: str | os.PathLike,
    target: str | os.PathLike,
    *,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    strides: Sequence[int] | None = None,
    segment_frames: int = 600,
    seed: int = 0,
    task: Task | None = None,
    live: Callable[[Status], None] | None = None,
    began: float | None = None,
) -> list[str]:
    """Encode a video, and return lines about the result.

    Args:
        video: Video file, folder of images, or name of a clip.
        target: New .hnv file.
        size: Bytes of the file, at most.
        bpp: Bits per pixel, at most; instead of `size`.
        psnr: Mean PSNR of the decoded frames in dB; instead of `size`.
        minutes: Time for everything.
        epochs: Passes over the frames; instead of `minutes`. Default 36.
        strides: See `EncodeOptions`.
        segment_frames: See `EncodeOptions`.
        seed: See `EncodeOptions`.
        task: A frozen network that shall see the decoded frames like the originals.
        live: Called after each epoch. Default: a line on stderr.
        began: See `Encoding`.

    Raises:
        ConfigError: An invalid option, or a target that exists.
        DataError: The video is missing or damaged, or the size cannot be reached.
        CheckpointError: Something cannot be written.
    """
    Target(psnr=psnr)
    if bpp is not None and not 0 < bpp < 24:
        raise ConfigError(f"bpp={bpp:g}; expected bits per pixel between 0 and 24")
    if Path(target).suffix.lower() != ".hnv":
        raise ConfigError(f"{target}: the name of the new file should end with .hnv")
    if minutes is None and epochs is None:
        epochs = 36
    source = open_source(video)
    if bpp is not None:
        size = int(bpp * source.pixels / 8)
    options = EncodeOptions(
        target=Target(size, psnr),
        epochs=epochs,
        minutes=minutes,
        segment_frames=segment_frames,
        strides=None if strides is None else tuple(strides),
        seed=seed,
    )
    line = LiveLine()
    encoding = Encoding(source, target, options, live or line, task=task, began=began)
    if live is None:
        line.begin(source)
    result = encoding.run()
    lines = [f"{target}: {result.size} bytes, {result.bpp:.5f} bits per pixel, {result.psnr:.2f} dB PSNR (mean over "
             f"{source.frames} frames of 8 bits, decoded from the file)"]  # fmt: skip
    if psnr is not None and abs(result.psnr - psnr) > 0.1:
        lines.append(f"{psnr:g} dB could not be reached: allow more time, or give a size")
    if task is not None:
        means = _measured(task, source, target)
        values = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        lines.append(f"{task.name} on decoded frames against originals: {values}")
    if source.audio:
        lines.append(f"the audio of {source.path} is not stored; keep the original for it")
    return lines


def _measured(task: Task, source: Source, target: str | os.PathLike) -> dict[str, float]:
    """Return the means of the task's measures over up to 64 frames, evenly distributed."""
    step = -(-source.frames // 64)
    with HnvDecoder(target) as decoder:
        return mean_measures(
            task, decoder.decode(range(0, source.frames, step)), islice(source.images(), 0, None, step)
        )


class LiveLine:
    """Line on stderr with the state of an encoding: overwritten in place on a terminal, else one every 30 seconds."""

    def __init__(self) -> None:
        self.shown = -30.0

    def begin(self, source: Source) -> None:
        """Print what is encoded; the first pass over the frames may take minutes."""
        height, width = source.info.size
        print(f"encoding {source.frames} frames of {width}x{height} pixels: the state is shown after each pass over "
              "the frames (epoch)", file=sys.stderr, flush=True)  # fmt: skip

    def __call__(self, status: Status) -> None:
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if not terminal and now - self.shown < 30 and status.epoch < status.epochs:
            return
        self.shown = now
        size = "" if status.size is None else f", about {status.size:.0f} bytes"
        text = (
            f"segment {status.segment}/{status.segments}, epoch {status.epoch}/{status.epochs}: {status.psnr:.2f} dB"
            f"{size}, {status.seconds_left / 60:.1f} minutes left"
        )
        end = "" if terminal and (status.segment, status.epoch) != (status.segments, status.epochs) else "\n"
        print(f"\r{text:<100}" if terminal else text, end=end, file=sys.stderr, flush=True)
