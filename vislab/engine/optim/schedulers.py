"""Learning-rate schedules that know the length of the run, so that changing it leaves no second number to change."""

import math
from collections.abc import Sequence

from mmengine.optim import MultiStepLR, _ParamScheduler
from torch.optim import Optimizer

from vislab.errors import ConfigError
from vislab.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Linear warm-up over a share of the run, then half a cosine down to `final_factor`, changed at every step.

    In a config: `dict(type=WarmupCosineLR, warmup=0.1, by_epoch=True, convert_to_iter_based=True)` for a run counted in
    epochs, `by_epoch=False` for one counted in iterations. The run's length is filled in by the runner.

    Args:
        optimizer: given by the runner.
        warmup: share of all steps spent warming up, 0..1.
        start_factor: factor of the learning rate at the first step.
        final_factor: factor of the learning rate at the end.
        begin: first step, or epoch, at which the schedule acts.
        end: step, or epoch, at which it is over; the runner gives the end of the run by default.
        last_step: number of steps already made.
        by_epoch: whether begin and end count epochs.
        verbose: print each change.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        warmup: float = 0.1,
        start_factor: float = 0.1,
        final_factor: float = 0.0,
        begin: int = 0,
        end: int | None = None,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ):
        if end is None:
            raise ValueError("WarmupCosineLR needs the run's length as `end` when it is built without a runner")
        for name, share in (("warmup", warmup), ("start_factor", start_factor), ("final_factor", final_factor)):
            if not 0 <= share <= 1:
                raise ConfigError(f"WarmupCosineLR: {name}={share!r} is not between 0 and 1")
        self.warmup = warmup
        self.start_factor = start_factor
        self.final_factor = final_factor
        super().__init__(
            optimizer, param_name="lr", begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    @classmethod
    def build_iter_from_epoch(cls, *args, begin: int = 0, end: int, epoch_length: int, by_epoch: bool = True, **kwargs):
        """The same schedule counted in iterations; mmengine's runner calls it for `convert_to_iter_based`."""
        if not by_epoch:
            raise ValueError("convert_to_iter_based needs by_epoch=True; leave it out for runs counted in iterations")
        return cls(*args, begin=begin * epoch_length, end=end * epoch_length, by_epoch=False, **kwargs)

    def factor(self, step: int) -> float:
        """The factor of the learning rate at a step, counted from `begin`."""
        progress = min(step / (self.end - self.begin), 1.0)
        if progress < self.warmup:
            return self.start_factor + (1 - self.start_factor) * progress / self.warmup
        cosine = (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2
        return self.final_factor + (1 - self.final_factor) * cosine

    def _get_value(self) -> list[float]:
        return [base * self.factor(self.last_step) for base in self.base_values]


@PARAM_SCHEDULERS.register_module()
class RelativeMultiStepLR(MultiStepLR):
    """Multiplies the learning rate by `gamma` at each of `milestones`, given as shares of the run.

    In a config: `dict(type=RelativeMultiStepLR, milestones=(0.3, 0.6, 0.8), gamma=0.2, by_epoch=True)`; in a run of 200
    epochs the rate changes after 60, 120 and 160. The run's length is filled in by the runner.

    Args:
        optimizer: given by the runner.
        milestones: shares of the run, increasing, between 0 and 1; each is rounded to a whole step or epoch.
        gamma: factor at each milestone.
        begin: first step, or epoch, at which the schedule acts.
        end: step, or epoch, at which the run is over; the runner gives it by default.
        last_step: number of steps already made.
        by_epoch: whether begin and end count epochs.
        verbose: print each change.

    Raises:
        ConfigError: milestones that are no increasing shares.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        milestones: Sequence[float],
        gamma: float = 0.1,
        begin: int = 0,
        end: int | None = None,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ):
        if end is None:
            raise ValueError("RelativeMultiStepLR needs the run's length as `end` when it is built without a runner")
        inside = all(0 < share < 1 for share in milestones)
        if not inside or any(a >= b for a, b in zip(milestones, milestones[1:], strict=False)):
            raise ConfigError(
                f"RelativeMultiStepLR: milestones={tuple(milestones)} are not increasing shares of the run, such as "
                "(0.3, 0.6, 0.8); absolute steps or epochs are for mmengine's MultiStepLR"
            )
        steps = [round(share * (end - begin)) for share in milestones]
        super().__init__(
            optimizer,
            milestones=steps,
            gamma=gamma,
            begin=begin,
            end=end,
            last_step=last_step,
            by_epoch=by_epoch,
            verbose=verbose,
        )

    @classmethod
    def build_iter_from_epoch(cls, *args, **kwargs):
        """Refused: a change in the middle of an epoch is what `by_epoch=False` is for."""
        raise ConfigError("RelativeMultiStepLR: milestones are shares of the run already; drop convert_to_iter_based")
