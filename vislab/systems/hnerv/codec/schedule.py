"""Number of epochs for a given time: steps are timed before, and the number is adapted while the network is fitted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings

_FRAMES = 12  # of the timing
_AFTER = 0.4  # time per frame of what comes after the training (coding, decoding, PSNR), in steps of the fit


@dataclass(frozen=True)
class StepCosts:
    """Seconds of a step of the fit, of a step with rounding, and of a refresh of the entropy models."""

    fit: float
    rounded: float
    refresh: float


def time_steps(
    start: Callable[[TrainingSettings, Tensor], SegmentTraining], settings: TrainingSettings, frames: Tensor
) -> StepCosts:
    """Return the costs of steps, measured on a short training of its own."""
    few = frames[:_FRAMES]
    training = start(replace(settings, epochs=4, fit_share=0.5, refresh=10**9), few)
    seconds = []
    while not training.finished:
        began = time.perf_counter()
        training.run_epoch()
        seconds.append(time.perf_counter() - began)
    _, fit, first, rounded = seconds  # the first epoch warms up; the first with rounding fits the models
    return StepCosts(fit / len(few), rounded / len(few), max(0.0, first - rounded))


class EpochPlanner:
    """Number of epochs, with a part of the last one, with which a training ends at a time.

    Args:
        costs: Costs of steps.
        end: Time of the end, in seconds since the encoding began.
        frames: Frames of the segment.
        decoded: Frames up to the end of the segment, all of which are decoded after the training.
    """

    def __init__(self, costs: StepCosts, *, end: float, frames: int, decoded: int):
        self.costs, self.frames = costs, frames
        self.end = end - _AFTER * costs.fit * decoded
        self._last: float | None = None

    def epochs(self, now: float, done: int = 0, scale: float = 1.0, settings: Any = TrainingSettings) -> float:
        """Return the total number of epochs, at least 2.

        Args:
            now: Seconds since the encoding began.
            done: Epochs of the fit that are done.
            scale: Factor on the costs.
            settings: Settings with `fit_share` and `refresh`.
        """
        fit = scale * self.costs.fit
        rounded = scale * (self.costs.rounded + self.costs.refresh / settings.refresh)
        per_epoch = settings.fit_share * fit + (1 - settings.fit_share) * rounded
        return max(2.0, ((self.end - now) / self.frames + done * fit) / per_epoch)

    def adapt(self, training: SegmentTraining, now: float) -> None:
        """Set the number of epochs of a training by the time that its last epoch took."""
        settings, done, last = training.settings, training.epoch, self._last
        self._last = now
        if last is None or done == settings.fit_epochs + 1:  # the first epoch with rounding prepares it, too
            return
        if done <= settings.fit_epochs:
            epochs = self.epochs(now, done, (now - last) / (self.frames * self.costs.fit), settings)
            changed = replace(settings, epochs=epochs)
            training.settings = changed if changed.fit_epochs >= done else settings
        else:
            epochs = done + max(0.0, (self.end - now) / (now - last))
            training.settings = replace(settings, epochs=epochs, fit_share=settings.fit_epochs / epochs)
