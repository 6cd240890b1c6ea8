"""Resume a run: find the checkpoint and restore its content before the first step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper

from vislab.engine.resume.hook_state import HookStates
from vislab.engine.resume.latest import find_latest_checkpoint, step_checkpoints
from vislab.engine.resume.optim_state import OptimizationState
from vislab.engine.resume.run_state import reading_part
from vislab.engine.resume.settings_diff import differences
from vislab.errors import CheckpointError

_MAX_TOLD = 20


def newest_checkpoint(runner) -> str | None:
    """Return the path of the newest intact checkpoint in the folder of the run, or None if there are no checkpoints.

    Raises:
        CheckpointError: If there are checkpoints, but the run can be resumed from none of them.
    """
    folder = runner.checkpoint_dir or runner.work_dir
    if path := find_latest_checkpoint(folder, runner.read_checkpoint):
        return str(path)
    if found := step_checkpoints(folder):
        raise CheckpointError(
            f"none of the checkpoints in {folder} can be resumed from "
            f"({', '.join(path.name for _, _, path in found[:5])}). Pass another one with --resume CKPT, or omit "
            "--resume to start a new run."
        )
    best = sorted(path.name for path in Path(folder).glob("best_*.pth"))
    runner.logger.warning(
        f"nothing to resume in {folder}: starting from the beginning"
        + (f" ({best[0]} contains the weights only; --load-from starts a new run from them)" if best else "")
    )
    return None


def last_checkpoint(runner) -> str | None:
    """Return the path of the newest checkpoint written by the run, or of the checkpoint it was resumed from."""
    path = Path(runner.work_dir) / str(runner.message_hub.get_info("last_ckpt"))
    return str(path) if path.is_file() else runner.loaded_from


def check_averages(hooks: Sequence[Hook], checkpoint: Mapping[str, Any], path: str) -> None:
    """Raise CheckpointError if averaged weights would be loaded in place of the trained ones.

    With EMAHook, `state_dict` of a checkpoint contains the average and `ema_state_dict` the trained weights.
    """
    if "ema_state_dict" in checkpoint and not any(isinstance(hook, EMAHook) for hook in hooks):
        raise CheckpointError(
            f"{path} is of a run with EMAHook, and this config has none: the weights being trained would be lost, and "
            "training would continue from their average. Add EMAHook to custom_hooks, or start a new run from the "
            "averaged weights with --load-from."
        )


def restore_counters(runner, checkpoint: Mapping[str, Any], path: str) -> None:
    """Set loop and message hub to the position of the checkpoint."""
    meta, loop = checkpoint["meta"], runner.train_loop
    with reading_part(path, "train_dataloader"):
        loop.resume_at(meta["epoch"], meta["iter"], meta.get("data"))
    with reading_part(path, "message hub"):
        runner.message_hub.load_state_dict(checkpoint["message_hub"])
    if loop.iter != meta["iter"]:  # iterations are counted differently now
        seen = runner.message_hub.get_info("last_validation_iter")
        runner.message_hub.update_info("last_validation_iter", loop.iter if seen == meta["iter"] else None)


def restore_hooks(runner, states: HookStates, checkpoint: Mapping[str, Any], path: str) -> None:
    """Restore the states of hooks; older checkpoints contain none, or only those in the message hub."""
    with reading_part(path, "run's hooks"):
        without = states.load_state_dict(checkpoint.get("hooks", {}))
    if "hooks" in checkpoint:
        lost = [name for name in without if name != "CheckpointHook"]
    else:
        for hook in runner.hooks:
            if hasattr(hook, "load_older_state"):
                hook.load_older_state(runner.message_hub)
        lost = [name for name in without if name not in ("CheckpointHook", "VisualizationHook")]
    if lost:
        runner.logger.warning(f"{path} contains no state of {', '.join(lost)}: they start from scratch")


def restore_optimization(runner, checkpoint: Mapping[str, Any], path: str) -> None:
    """Restore optimizers and schedulers; settings changed in the config take effect and are logged.

    Raises:
        CheckpointError: If the checkpoint has other optimizers or schedulers.
    """
    loop = runner.train_loop
    if not isinstance(runner.optim_wrapper, OptimWrapper):  # Runner.resume was called by the user, not by train()
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        if runner.param_schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    state = OptimizationState(runner.optim_wrapper, runner.param_schedulers, runner.settings, checkpoint)
    with reading_part(path, "optim_wrapper and param_scheduler"):
        state.check()
        changed = state.load_optimizers()
        changed_schedules = state.schedule_changes()
        if changed_schedules or loop.iter != checkpoint["meta"]["iter"]:
            before = runner.optim_wrapper.get_lr()
            state.follow_schedules(loop.epoch, loop.iter, len(loop.dataloader) if loop.by_epoch else None)
            after = runner.optim_wrapper.get_lr()
            if changed_schedules or before != after:
                changed += [*changed_schedules, f"learning rate at this point: {_first(before)} -> {_first(after)}"]
        else:
            state.load_schedules()
    if changed:
        runner.logger.warning(
            "optimizer and schedule settings have changed since the run being resumed; the new ones take effect: "
            + "; ".join(changed)
        )


def tell_differences(runner, checkpoint: Mapping[str, Any]) -> None:
    """Log the position of the run and the settings that differ from those of the resumed run."""
    loop = runner.train_loop
    runner.logger.info(f"resumed at epoch {runner.epoch}, iteration {runner.iter}")
    then = checkpoint.get("settings", {}).get("config")
    if then is None:
        runner.logger.warning(
            "the checkpoint is of a version that did not save settings: whether the config has changed since is unknown"
        )
    else:
        told = list(differences(then, runner.settings["config"]))
        if told:
            more = f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
            runner.logger.warning(
                "settings have changed since the run being resumed; the new ones take effect: "
                + "; ".join(told[:_MAX_TOLD])
                + more
            )
    done, total = (loop.epoch, loop.max_epochs) if loop.by_epoch else (loop.iter, loop.max_iters)
    if done >= total:
        key = "max_epochs" if loop.by_epoch else "max_iters"
        runner.logger.warning(f"training is already complete: {done} of train_cfg.{key}={total} are done")


def _first(rates: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{values[0]:.6g}" for values in rates.values())
