"""Number of epochs for a given time: steps are timed before, and the number is adapted while the network is fitted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vislab.systems.hnerv.codec.training import SegmentTraining, TrainingSettings

_FRAMES = 12  # of the timing
_RESERVE = 0.02  # share of the time for what comes after the training


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
    """Number of epochs with which a training ends at a time.

    Args:
        costs: Costs of steps.
        end: Time of the end, in seconds since the encoding began.
        frames: Frames of the segment.
    """

    def __init__(self, costs: StepCosts, *, end: float, frames: int):
        self.costs, self.end, self.frames = costs, end, frames
        self._last: float | None = None

    def epochs(self, now: float, done: int = 0, scale: float = 1.0, settings: Any = TrainingSettings) -> int:
        """Return the total number of epochs.

        Args:
            now: Seconds since the encoding began.
            done: Epochs of the fit that are done.
            scale: Factor on the costs.
            settings: Settings with `fit_share` and `refresh`.
        """
        fit = scale * self.costs.fit
        rounded = scale * (self.costs.rounded + self.costs.refresh / settings.refresh)
        left = (1 - _RESERVE) * self.end - now
        per_epoch = settings.fit_share * fit + (1 - settings.fit_share) * rounded
        return max(3, int((left / self.frames + done * fit) / per_epoch))

    def adapt(self, training: SegmentTraining, now: float) -> None:
        """Set the number of epochs of a training that is still fitting, by the time that its last epoch took."""
        if self._last is not None:
            scale = (now - self._last) / (self.frames * self.costs.fit)
            epochs = self.epochs(now, training.epoch, scale, training.settings)
            changed = replace(training.settings, epochs=epochs)
            if changed.fit_epochs > training.epoch:
                training.settings = changed
        self._last = now
