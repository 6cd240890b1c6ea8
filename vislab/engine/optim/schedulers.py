"""Learning rate schedules relative to the length of the run: a change of the length needs no second change."""

import math
from collections.abc import Sequence

from mmengine.optim import MultiStepLR, _ParamScheduler
from torch.optim import Optimizer

from vislab.errors import ConfigError
from vislab.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Cosine annealing with a linear warmup whose length is a fraction of the run.

    The learning rate increases linearly from `start_factor` to 1 times its base value during warmup, and then decreases
    to `final_factor` times the base value along half a period of a cosine. It changes at every step.

    In a config: `dict(type=WarmupCosineLR, warmup=0.1, by_epoch=True, convert_to_iter_based=True)` for a run measured
    in epochs, `by_epoch=False` for a run measured in iterations. The runner sets the length of the run.

    Args:
        optimizer: Wrapped optimizer; set by the runner.
        warmup: Fraction of all steps used for warmup, between 0 and 1.
        start_factor: Factor of the learning rate at the first step.
        final_factor: Factor of the learning rate at the end.
        begin: First step or epoch at which the schedule updates the learning rate.
        end: Step or epoch at which the schedule ends. Default: the end of the run, set by the runner.
        last_step: Number of steps already completed.
        by_epoch: Whether `begin` and `end` are epochs instead of iterations.
        verbose: Whether to print each change.
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
            raise ValueError("WarmupCosineLR needs the length of the run as `end` if it is built without a runner")
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
        """Return the same schedule measured in iterations; mmengine's runner calls it for `convert_to_iter_based`."""
        if not by_epoch:
            raise ValueError("convert_to_iter_based needs by_epoch=True; omit it for runs measured in iterations")
        return cls(*args, begin=begin * epoch_length, end=end * epoch_length, by_epoch=False, **kwargs)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at a step, counted from `begin`."""
        progress = min(step / (self.end - self.begin), 1.0)
        if progress < self.warmup:
            return self.start_factor + (1 - self.start_factor) * progress / self.warmup
        cosine = (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2
        return self.final_factor + (1 - self.final_factor) * cosine

    def _get_value(self) -> list[float]:
        return [base * self.factor(self.last_step) for base in self.base_values]


@PARAM_SCHEDULERS.register_module()
class RelativeMultiStepLR(MultiStepLR):
    """Multiplies the learning rate by `gamma` at each of `milestones`, which are fractions of the run.

    In a config: `dict(type=RelativeMultiStepLR, milestones=(0.3, 0.6, 0.8), gamma=0.2, by_epoch=True)`; in a run of 200
    epochs the rate changes after 60, 120 and 160. The runner sets the length of the run.

    Args:
        optimizer: Wrapped optimizer; set by the runner.
        milestones: Increasing fractions of the run between 0 and 1; each is rounded to a whole step or epoch.
        gamma: Factor of the learning rate at each milestone.
        begin: First step or epoch at which the schedule updates the learning rate.
        end: Step or epoch at which the run ends. Default: set by the runner.
        last_step: Number of steps already completed.
        by_epoch: Whether `begin` and `end` are epochs instead of iterations.
        verbose: Whether to print each change.

    Raises:
        ConfigError: If `milestones` are not increasing fractions between 0 and 1.
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
            raise ValueError("RelativeMultiStepLR needs the length of the run as `end` if it is built without a runner")
        inside = all(0 < share < 1 for share in milestones)
        if not inside or any(a >= b for a, b in zip(milestones, milestones[1:], strict=False)):
            raise ConfigError(
                f"RelativeMultiStepLR: milestones={tuple(milestones)} are not increasing fractions of the run, such as "
                "(0.3, 0.6, 0.8); use mmengine's MultiStepLR for absolute steps or epochs"
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
        """Raise ConfigError: use `by_epoch=False` for changes within an epoch."""
        raise ConfigError("RelativeMultiStepLR: milestones are fractions of the run; drop convert_to_iter_based")
