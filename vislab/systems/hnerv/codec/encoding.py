"""Encode a video into a .hnv file: segment by segment, resumable, within a size or a time.

While it runs, TARGET.encoding/ holds the plan (plan.json), the finished segments (done.hnv), the state of the segment
in work (state.pth) and its frames (frames.u8). The target appears at the end, complete.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.atomic import write_text_atomically
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.run_settings import changed_settings
from vislab.systems.hnerv.codec.content import Segment
from vislab.systems.hnerv.codec.decoder import HnvDecoder
from vislab.systems.hnerv.codec.layout import pack_header
from vislab.systems.hnerv.codec.plan import Target, choose_network, split
from vislab.systems.hnerv.codec.quality import fit_quality, mean_psnr
from vislab.systems.hnerv.codec.reader import HnvFile
from vislab.systems.hnerv.codec.schedule import EpochPlanner, time_steps
from vislab.systems.hnerv.codec.source import Source, store_frames
from vislab.systems.hnerv.codec.task import Task
from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings
from vislab.systems.hnerv.codec.writer import append_segments, code_segment, write_hnv
from vislab.systems.hnerv.model import HNeRV

_TABLE_BYTES = 40  # of footer and segment table
_SEGMENT_BYTES = 165  # of heads and entropy models of a segment with five stages; fewer of those with fewer
_SAVE_SECONDS = 20
_PSNR_LAM = 0.002


@dataclass(frozen=True)
class EncodeOptions:
    """Options of an encoding; a run can only be resumed with the same ones.

    Args:
        target: Size or quality of the file.
        epochs: Passes over the frames; None with `minutes`.
        minutes: Time for everything; None with `epochs`.
        segment_frames: Most frames of a segment.
        section: Frames per section of embeddings.
        strides: Strides of the networks; None: chosen by the frame size.
        seed: Seed of everything random.

    Raises:
        ConfigError: An option is out of range.
    """

    target: Target = Target()
    epochs: int | None = 36
    minutes: float | None = None
    segment_frames: int = 600
    section: int = 64
    strides: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise ConfigError(f"epochs={self.epochs}, minutes={self.minutes}; give exactly one of them")
        if self.epochs is not None and self.epochs < 3:
            raise ConfigError(f"epochs={self.epochs}; expected at least 3")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise ConfigError(f"minutes={self.minutes:g}; expected a positive number")
        if self.segment_frames < 1 or self.section < 1:
            raise ConfigError(f"segment_frames={self.segment_frames}, section={self.section}; expected at least 1")
        if self.strides is not None and min(self.strides, default=0) < 1:
            raise ConfigError(f"strides={' '.join(map(str, self.strides))}; expected numbers of at least 1")
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}; expected at least 0")


@dataclass(frozen=True)
class Status:
    """State of an encoding after an epoch: for a live line.

    `psnr` is that of the training in dB; `size` the projected size of the file in bytes, None before rounding.
    """

    segment: int
    segments: int
    epoch: int
    epochs: int
    psnr: float
    size: float | None
    seconds_left: float


@dataclass(frozen=True)
class Result:
    """Finished file: bytes, bits per pixel, and mean PSNR in dB of the 8-bit frames decoded from it."""

    size: int
    bpp: float
    psnr: float


class Encoding:
    """One encoding; `run` starts it or goes on.

    Args:
        source: The video.
        target: Path of the .hnv file, which must not exist.
        options: See EncodeOptions.
        report: Called after each epoch.
        task: A frozen network that shall see the decoded frames like the originals.
        began: `time.monotonic()` at the time from which `minutes` count. Default: now.

    Raises:
        ConfigError: The target exists.
    """

    def __init__(
        self,
        source: Source,
        target: str | os.PathLike,
        options: EncodeOptions,
        report: Callable[[Status], None] = lambda status: None,
        *,
        task: Task | None = None,
        began: float | None = None,
    ):
        self.source, self.options, self.report, self.task = source, options, report, task
        self.target = Path(target)
        self.folder = self.target.with_name(f"{self.target.name}.encoding")
        if self.target.exists():
            raise ConfigError(f"{target} exists; choose another name, or remove it")
        self.segments = split(source.frames, options.segment_frames)
        self.began = time.monotonic() if began is None else began

    def run(self) -> Result:
        """Encode the video; the folder of the work is removed at the end.

        Raises:
            ConfigError: The folder of the work belongs to other options, or to a process that still runs.
            CheckpointError: Something cannot be written. What was done is kept, and another run goes on from there.
        """
        try:
            with self._lock():
                self._check_plan()
                if (self.folder / "state.pth").exists():
                    self.began -= load_checkpoint(self.folder / "state.pth")["seconds"]  # of runs before this one
                for number in range(self._done(), len(self.segments)):
                    self._encode_segment(number)
                done = self.folder / "done.hnv"
                with HnvDecoder(done) as decoder:
                    psnr = mean_psnr(decoder.decode(range(len(decoder))), self.source.images())
                    result = Result(decoder.file.size, decoder.file.bits_per_pixel, psnr)
                os.replace(done, self.target)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {error.filename or self.folder}: {error.strerror or error}. What was done is kept in "
                f"{self.folder}; run the same command again to go on."
            ) from error
        except KeyboardInterrupt as stop:
            raise type(stop)(f"run the same command again to go on; the work is kept in {self.folder}") from None
        shutil.rmtree(self.folder, ignore_errors=True)
        return result

    # ----------------------------------------------------------------------------------------------- folder of the work

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another process is encoding {self.target}") from None
            yield

    def _check_plan(self) -> None:
        stat = self.source.path.stat()
        plan = {
            "source": [str(self.source.path.resolve()), stat.st_size, stat.st_mtime_ns, self.source.frames],
            "options": asdict(self.options),
            "task": None if self.task is None else self.task.identity(),
        }
        path = self.folder / "plan.json"
        if changed_settings(path, plan):
            raise ConfigError(
                f"{self.folder} has the work of another video or of other options; use those, or remove the folder"
            )
        write_text_atomically(json.dumps(plan), path)

    def _state(self, number: int) -> dict[str, Any]:
        """Return the saved state of a segment, or one to begin with."""
        path = self.folder / "state.pth"
        if not path.exists():
            return {"segment": number}
        state = load_checkpoint(path)
        if state["segment"] == number:
            return state
        # the network of the segment before, to start from
        return {"segment": number, "network": state["training"]["network"]}

    def _done(self) -> int:
        """Return the number of finished segments."""
        path = self.folder / "done.hnv"
        if not path.exists():
            return 0
        with HnvFile(path) as file:
            file.verify()
            return len(file.entries)

    # -------------------------------------------------------------------------------------------------------- a segment

    def _encode_segment(self, number: int) -> None:
        state = self._state(number)
        numbers = self.segments[number]
        bits = self._target_bits(numbers)
        info = self.source.info
        network = choose_network(
            frame_size=info.size,
            frames=len(numbers),
            strides=self.options.strides,
            target_bits=bits,
            psnr=self.options.target.psnr,
        )
        scale = prod(network["strides"])
        size = tuple(-(-side // scale) * scale for side in info.size)
        frames = store_frames(self.source, numbers.start, numbers.stop, size, self.folder / "frames.u8")
        training, planner = self._training(number, network, frames, bits, state)
        saved = time.monotonic()
        while not training.finished:
            progress = training.run_epoch()
            seconds = time.monotonic() - self.began
            if planner is not None:
                planner.adapt(training, seconds)
            if self.options.target.psnr is not None and training.relaxed is not None:
                training.log_lam += float(np.clip(0.3 * (progress.psnr - self.options.target.psnr), -0.5, 0.5))
            self._tell(number, training, progress, seconds)
            if time.monotonic() - saved > _SAVE_SECONDS or training.finished:
                self._save(training, state, seconds)
                saved = time.monotonic()
        self._add(number, self._finish(training, numbers, bits, frames))

    def _target_bits(self, numbers: range) -> float | None:
        """Return the bits of the symbols and models of a segment, without headers."""
        if self.options.target.bytes is None:
            return None
        whole = self.options.target.bytes - len(pack_header(self.source.info)) - _TABLE_BYTES
        share = whole * len(numbers) / self.source.frames
        sections = -(-len(numbers) // self.options.section)
        return 8 * (share - _SEGMENT_BYTES - 12 * sections)

    def _training(
        self, number: int, arguments: dict[str, Any], frames: np.ndarray, bits: float | None, state: dict[str, Any]
    ) -> tuple[SegmentTraining, EpochPlanner | None]:
        """Return the training of a segment, where it was stopped or at its beginning, and the planner of its epochs."""
        options = self.options
        tensor = torch.from_numpy(frames)
        settings = TrainingSettings(epochs=options.epochs or 36, seed=options.seed + number, target_bits=bits)
        steps = settings.epochs * len(frames) * (1 - settings.fit_share)
        settings = replace(settings, refresh=int(np.clip(steps / 80, 6, settings.refresh)))  # often in short runs
        if options.target.psnr is not None:
            settings = replace(settings, lam=_PSNR_LAM)

        def start(settings: TrainingSettings, frames: torch.Tensor = tensor) -> SegmentTraining:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                network = HNeRV(**arguments)
            if "network" in state and state["network"].keys() == network.state_dict().keys():
                with contextlib.suppress(RuntimeError):  # a network of another width starts from random weights
                    network.load_state_dict(state["network"])
            size = self.source.info.size
            return SegmentTraining(network, frames, settings, section=options.section, size=size, task=self.task)

        planner = None
        if options.minutes is not None:
            stop = self.segments[number].stop
            end = 60 * options.minutes * stop / self.source.frames
            planner = EpochPlanner(time_steps(start, settings, tensor), end=end, frames=len(frames), decoded=stop)
            spent = time.monotonic() - self.began
            settings = replace(settings, **(state.get("length") or {"epochs": planner.epochs(spent)}))
        training = start(settings)
        if "training" in state:
            training.load_state_dict(state["training"])
        return training, planner

    def _save(self, training: SegmentTraining, state: dict[str, Any], seconds: float) -> None:
        length = {"epochs": training.settings.epochs, "fit_share": training.settings.fit_share}
        content = {**state, "seconds": seconds, "length": length, "training": training.state_dict()}
        save_checkpoint(content, self.folder / "state.pth")

    def _tell(self, number: int, training: SegmentTraining, progress: Any, seconds: float) -> None:
        epochs = training.settings.epochs
        share = min(1.0, progress.epoch / epochs)
        done = (self.segments[number].start + len(self.segments[number]) * share) / self.source.frames
        size = None
        if progress.bits:
            size = (progress.bits / 8 + 300) * self.source.frames / len(self.segments[number])
        left = seconds * (1 - done) / done
        status = Status(number + 1, len(self.segments), progress.epoch, ceil(epochs), progress.psnr, size, left)
        self.report(status)

    def _finish(self, training: SegmentTraining, numbers: range, bits: float | None, frames: np.ndarray) -> Segment:
        """Return the segment with its times, adapted to the target."""
        times = tuple(self.source.times[i] for i in numbers)
        segment = replace(training.segment(), times=times)
        info = self.source.info
        if self.options.target.psnr is not None:
            return fit_quality(segment, frames, info.size, self.options.target.psnr)
        if bits is None:
            return segment
        whole = self.options.target.bytes - len(pack_header(info)) - _TABLE_BYTES
        share = int(whole * len(numbers) / self.source.frames) - 10  # bytes of the entry in the table
        for _ in range(4):
            data, _ = code_segment(info, segment, start=times[0], first=True)
            if len(data) <= share:
                break
            bits -= 8 * (len(data) - share) + 64
            training.settings = replace(training.settings, target_bits=bits)
            segment = replace(training.segment(), times=times)
        else:
            raise DataError(f"{self.target}: {self.options.target.bytes} bytes cannot be reached with this network")
        return segment

    def _add(self, number: int, segment: Segment) -> None:
        path = self.folder / "done.hnv"
        if number == 0:
            write_hnv(path, self.source.info, [segment])
        else:
            append_segments(path, [segment])
