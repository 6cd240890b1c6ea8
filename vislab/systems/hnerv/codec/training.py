"""Fitting and compression of one segment as one run: a float network first, then the rounded one with its bits.

    fit      encoder and decoder, mean squared error                             -> share `fit_share` of the epochs
    soften   decoder and free embeddings, soft rounding, error + lam * bits per pixel   -> share `soft_share`
    round    the same with hard rounding and straight-through gradients          -> the others

One learning rate schedule spans all of it. A target of bits sets lam while training.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from vislab.engine.optim.muon import Muon
from vislab.engine.optim.muon_groups import MuonRules
from vislab.errors import ConfigError, TrainingError
from vislab.systems.hnerv.codec.content import Segment
from vislab.systems.hnerv.codec.entropy import Model
from vislab.systems.hnerv.codec.relaxed import RelaxedSegment, SegmentCosts, noisy_round, straight_through
from vislab.systems.hnerv.codec.task import Task
from vislab.systems.hnerv.model import HNeRV


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of `SegmentTraining`.

    Args:
        epochs: Passes over the frames; of the last one, a part if it is not whole.
        fit_share: Share of the epochs before rounding.
        soft_share: Share of the epochs with soft rounding; hard rounding from the start gave more on Bunny.
        lr: Rate of Muon, for the stage convolutions and the encoder.
        adam_lr: Rate of Adam for other weights.
        embedding_lr: Rate of Adam for embeddings.
        step_lr: Rate of Adam for the logarithms of the steps.
        warmup: Share of all training steps in which the rates rise.
        lam: Mean squared error that one bit per pixel may cost; the start value if there is a target.
        target_bits: Bits of weights and embeddings at the end; None keeps `lam`.
        temperature: Of the soft rounding, at its first and last step.
        noise: Standard deviation of the noise of the soft rounding, at its first and last step.
        start_step: First step of a weight in standard deviations; a target sets it.
        refresh: Training steps between two fits of the entropy models.
        seed: Seed of the order of frames and of the noise.
    """

    epochs: float = 36
    fit_share: float = 0.45
    soft_share: float = 0.0
    lr: float = 0.02
    adam_lr: float = 2e-3
    embedding_lr: float = 2e-3
    step_lr: float = 5e-3
    warmup: float = 0.1
    lam: float = 0.005
    target_bits: float | None = None
    temperature: tuple[float, float] = (0.35, 0.1)
    noise: tuple[float, float] = (0.22, 0.15)
    start_step: float = 1.0
    refresh: int = 66
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 2:
            raise ConfigError(f"epochs={self.epochs}; expected at least 2, one before and one after rounding")
        if not (0 < self.fit_share < 1 and 0 <= self.soft_share < 1 and self.fit_share + self.soft_share < 1):
            raise ConfigError(
                f"fit_share={self.fit_share}, soft_share={self.soft_share}; expected shares of less than 1 together"
            )

    @property
    def fit_epochs(self) -> int:
        """Epochs before rounding."""
        return min(max(1, round(self.fit_share * self.epochs)), math.ceil(self.epochs) - 1)

    @property
    def round_from(self) -> int:
        """First epoch with hard rounding."""
        return min(self.fit_epochs + round(self.soft_share * self.epochs), math.ceil(self.epochs) - 1)

    def rate(self, progress: float) -> float:
        """Return the factor of the learning rates at a share of the run."""
        if progress < self.warmup:
            return 0.1 + 0.9 * progress / self.warmup
        return (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2


@dataclass(frozen=True)
class Progress:
    """State of the run after an epoch: PSNR of the frames as they were trained in dB, bits (0 before rounding), lam."""

    epoch: int
    psnr: float
    bits: float
    lam: float


class SegmentTraining:
    """Fit a network to the frames of a segment and compress it, one epoch at a time.

    The state between epochs can be saved; a run that goes on from it ends with the same segment, bit for bit.

    Args:
        network: HNeRV with random weights, or those of the segment before.
        frames: uint8 (T, 3, H, W), a size that the strides divide.
        settings: See TrainingSettings.
        section: Frames per section of the file.
        size: (height, width) of the frames before they were padded at the bottom and the right; what is beyond does
            not count.
        task: A frozen network, whose term is added to the loss from the rounding on.
    """

    def __init__(
        self,
        network: HNeRV,
        frames: Tensor,
        settings: TrainingSettings,
        *,
        section: int = 64,
        size: tuple[int, int] | None = None,
        task: Task | None = None,
    ):
        self.network = network.train()
        self.frames = frames
        self.settings = settings
        self.section = section
        self.size = size or tuple(frames.shape[-2:])
        self.task = task
        self.pixels = len(frames) * self.size[0] * self.size[1]
        self.epoch = 0
        self.log_lam = math.log(settings.lam) if settings.lam > 0 else -math.inf
        self.relaxed: RelaxedSegment | None = None
        self.costs: SegmentCosts | None = None
        self.bits = 0.0  # at the last refresh
        rules = MuonRules(matrices=["decoder.stages", "encoder"])
        groups = rules.groups(self.network, lr=settings.lr, weight_decay=0.0, adam_lr=settings.adam_lr)
        self.optimizer = self._optimizer(groups)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.settings.epochs

    def run_epoch(self) -> Progress:
        """Train one epoch, or the part that is left. Subnormal numbers are set to zero in this thread, for speed."""
        torch.set_flush_denormal(True)
        settings, count = self.settings, len(self.frames)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.epoch)
        if self.epoch == settings.fit_epochs and self.relaxed is None:
            self._relax()
        errors, steps = torch.zeros(()), max(1, round((settings.epochs - self.epoch) * count))
        numbers = torch.randperm(count, generator=generator)[:steps].tolist()
        for i, number in enumerate(numbers):
            step = self.epoch * count + i
            rate = settings.rate(step / (settings.epochs * count))
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            if self.relaxed is not None and (step - settings.fit_epochs * count) % settings.refresh == 0:
                self._refresh()
            error = self._step(number, generator)
            errors += -10 * error.clamp_min(1e-10).log10()
        self.epoch += 1
        psnr = (errors / len(numbers)).item()
        if not math.isfinite(psnr):
            raise TrainingError("the fit diverged: its error is not finite; use lower learning rates")
        return Progress(self.epoch, psnr, self.bits, math.exp(self.log_lam))

    def segment(self) -> Segment:
        """Return the content of the file; the run must have reached the rounding.

        If it has more bits than the target, fewer weights are rounded up, as far as needed.
        """
        if self.relaxed is None:
            raise TrainingError("the segment is not rounded yet: train further")
        target = self.settings.target_bits
        segment = self.relaxed.segment()
        if target is None or not self.finished or SegmentCosts(segment).exact_bits(segment) <= target:
            return segment
        fewest = self.relaxed.segment(threshold=1.0)
        if SegmentCosts(fewest).exact_bits(fewest) <= target:
            return self._smallest_change(target, "threshold", 0.5, 1.0)
        return self._smallest_change(target, "coarser", 1.0, 1000.0)

    def _smallest_change(self, target: float, name: str, low: float, high: float) -> Segment:
        """Return the segment of the smallest value of an argument of `RelaxedSegment.segment` that fits the target."""
        for _ in range(10):
            middle = math.sqrt(low * high)
            trial = self.relaxed.segment(**{name: middle})
            if SegmentCosts(trial).exact_bits(trial) > target:
                low = middle
            else:
                high = middle
        return self.relaxed.segment(**{name: high})

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain data from which `load_state_dict` continues."""
        return {
            "epoch": self.epoch,
            "log_lam": self.log_lam,
            "bits": self.bits,
            "models": None if self.costs is None else [astuple(model) for model in self.costs.models],
            "network": self.network.state_dict(),
            "relaxed": None if self.relaxed is None else self.relaxed.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of a run with the same settings and frames."""
        self.network.load_state_dict(state["network"])
        if state["relaxed"] is not None:
            embeddings = torch.zeros_like(state["relaxed"]["embeddings"])
            self.relaxed = self._rounded(self.network, embeddings, 1.0)
            self._learn_rounded()
            self.relaxed.load_state_dict(state["relaxed"])
            self.costs = SegmentCosts(self.relaxed.segment(), [Model(*values) for values in state["models"]])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.log_lam, self.bits = state["epoch"], state["log_lam"], state["bits"]

    def _target(self, numbers: Sequence[int]) -> Tensor:
        frames = self.frames[numbers].float().div(255)
        return frames.contiguous(memory_format=torch.channels_last)

    def _step(self, number: int, generator: torch.Generator) -> Tensor:
        """Take one training step; returns the mean squared error of the frame."""
        target = self._target([number])
        if self.relaxed is None:
            error = loss = self._error(self.network.forward_tensor(target)["image"], target)
        else:
            image, bits = self._relaxed_frame(number, generator)
            error = self._error(image, target)
            loss = error + math.exp(self.log_lam) * bits / self.pixels
            if self.task is not None:
                loss = loss + self.task.loss(self._cropped(image), self._cropped(target))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return error.detach()

    def _error(self, image: Tensor, target: Tensor) -> Tensor:
        return torch.nn.functional.mse_loss(self._cropped(image), self._cropped(target))

    def _cropped(self, images: Tensor) -> Tensor:
        height, width = self.size
        return images[..., :height, :width]

    def _relaxed_frame(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        settings = self.settings
        weights, embeddings = self.relaxed.scaled()
        bits = self.costs.bits(weights, embeddings)
        one = embeddings[number : number + 1]
        if self.epoch >= settings.round_from:
            return self.relaxed.decode([straight_through(w) for w in weights], straight_through(one)), bits
        soft = settings.round_from - settings.fit_epochs
        share = (self.epoch - settings.fit_epochs) / max(1, soft - 1)
        temperature, noise = (a + (b - a) * share for a, b in (settings.temperature, settings.noise))
        rounded = [noisy_round(x, temperature, noise, generator) for x in (*weights, one)]
        return self.relaxed.decode(rounded[:-1], rounded[-1]), bits

    @torch.no_grad()
    def _relax(self) -> None:
        """Replace the encoder by free embeddings, and start to learn the steps."""
        settings, network = self.settings, self.network.eval()
        parts = [
            network.encode(self._target(range(i, min(i + 8, len(self.frames))))) for i in range(0, len(self.frames), 8)
        ]
        embeddings = torch.cat(parts)  # (T, d, h, w)
        self.relaxed = self._rounded(network, embeddings, settings.start_step)
        if settings.target_bits is not None:
            low, high = 0.1, 10.0  # first steps; the target is met at once, and lam only has to keep it
            for _ in range(8):
                middle = math.sqrt(low * high)
                self.relaxed = self._rounded(network, embeddings, middle)
                segment = self.relaxed.segment()
                if SegmentCosts(segment).exact_bits(segment) > settings.target_bits:
                    low = middle
                else:
                    high = middle
        self._learn_rounded()

    def _learn_rounded(self) -> None:
        """Replace the optimizer by one of the rounded network and its steps."""
        settings, relaxed = self.settings, self.relaxed
        names = dict(zip(relaxed.names, relaxed.weights, strict=True))
        stages = [f"stages.{i}.0.weight" for i in range(len(relaxed.spec.strides))]
        groups = [
            {"params": [names[n]], "method": "muon", "split": s**2}
            for n, s in zip(stages, relaxed.spec.strides, strict=True)
        ]
        rest = [p for name, p in names.items() if name not in stages]
        groups += [
            {"params": rest, "method": "adam"},
            {"params": [relaxed.embeddings], "method": "adam", "lr": settings.embedding_lr},
            {"params": [*relaxed.log_steps, relaxed.log_embedding_steps], "method": "adam", "lr": settings.step_lr},
        ]
        self.optimizer = self._optimizer(groups)

    def _rounded(self, network: HNeRV, embeddings: Tensor, start_step: float) -> RelaxedSegment:
        """Return the network with first steps in proportion to the deviation of weights and embeddings."""
        steps = {
            name: (p.std() * (start_step if p.ndim > 1 else 1 / 16)).clamp_min(1e-4)
            for name, p in network.decoder.state_dict().items()
        }
        spread = (embeddings - embeddings.mean(dim=0)).std(dim=(0, 2, 3), keepdim=True)  # (1, d, 1, 1)
        spread = spread.nan_to_num(1.0)  # of a single value
        largest = embeddings.abs().amax(dim=(0, 2, 3), keepdim=True)  # of still videos far above the spread over time
        embedding_steps = torch.maximum(spread * 0.2, largest / 500).clamp_min(1e-4)
        return RelaxedSegment(network.decoder, embeddings, steps, embedding_steps, section=self.section)

    def _optimizer(self, groups: list[dict]) -> Optimizer:
        optimizer = Muon(groups, lr=self.settings.lr, adam_lr=self.settings.adam_lr, fused=True)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def _refresh(self) -> None:
        """Fit the entropy models to the rounded symbols, and adapt lam to the target."""
        segment, settings = self.relaxed.segment(), self.settings
        self.costs = SegmentCosts(segment)
        self.bits = self.costs.exact_bits(segment)
        if settings.target_bits is None:
            return
        self.log_lam += float(np.clip(3 * (self.bits / settings.target_bits - 1), -0.5, 0.5))


def compress(
    network: HNeRV,
    frames: Tensor,
    settings: TrainingSettings,
    *,
    section: int = 64,
    size: tuple[int, int] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Segment:
    """Fit a network to frames (T, 3, H, W) uint8 and return it compressed.

    Args:
        network: HNeRV with random weights, or those of the segment before; it is changed.
        frames: Frames of a size that the strides divide.
        settings: See TrainingSettings.
        section: Frames per section of the file.
        size: See SegmentTraining.
        report: Called after each epoch.
    """
    training = SegmentTraining(network, frames, settings, section=section, size=size)
    while not training.finished:
        progress = training.run_epoch()
        if report is not None:
            report(progress)
    return training.segment()
