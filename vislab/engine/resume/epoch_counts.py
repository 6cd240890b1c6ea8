"""Check for schedulers and hooks by epoch in runs by iterations, in which they would have no effect."""

from collections.abc import Iterable

from mmengine.hooks import EMAHook, Hook
from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler

from vislab.engine.resume.optim_state import schedulers_of
from vislab.errors import ConfigError

_LOOP = "but train_cfg counts iterations, and for hooks and schedules the whole run is one epoch"


def check_schedules(schedulers: list[_ParamScheduler] | dict[str, list[_ParamScheduler]]) -> None:
    """Raise ConfigError for schedulers by epoch; for runs by iterations."""
    for name, group in schedulers_of(schedulers).items():
        for number, scheduler in enumerate(group):
            kind = f"param_scheduler{f'.{name}' if name else ''}[{number}] ({type(scheduler).__name__})"
            if isinstance(scheduler, ReduceOnPlateauParamScheduler):  # updated at each validation
                if scheduler.begin > 0:
                    raise ConfigError(f"{kind} has begin={scheduler.begin} in epochs, {_LOOP}: leave begin away")
            elif scheduler.by_epoch:
                raise ConfigError(
                    f"{kind} has by_epoch=True (the default of mmengine's schedules), {_LOOP}: it would never change "
                    "anything. Set by_epoch=False and set its milestones, begin, end or T_max in iterations."
                )


def check_hooks(hooks: Iterable[Hook]) -> None:
    """Raise ConfigError for hooks by epoch; for runs by iterations."""
    for hook in hooks:
        name = type(hook).__name__
        if getattr(hook, "by_epoch", False) is True:
            raise ConfigError(
                f"{name} has by_epoch=True, {_LOOP}: it would act once, at the end. Set by_epoch=False and set its "
                "interval in iterations."
            )
        if isinstance(hook, EMAHook) and hook.begin_epoch > 1:
            raise ConfigError(
                f"{name} has begin_epoch={hook.begin_epoch}, {_LOOP}: it would never begin. Set begin_iter instead."
            )
