"""Hook that saves accumulated gradients in checkpoints, so that they can be saved at any iteration."""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

from vislab.engine.distributed import unwrap
from vislab.engine.sharding import FullyShard
from vislab.io.sharded import gather_whole, split_like
from vislab.registry import HOOKS


@HOOKS.register_module()
class PendingGradientsHook(Hook):
    """Saves and restores the gradients of each rank in checkpoints between two optimizer steps.

    With `optim_wrapper.accumulative_counts` > 1 an optimizer step takes several iterations. A checkpoint between two
    steps also contains the gradients of the model, once per rank.

    Runner and its loops call `collect_rank_states` (every rank, before a checkpoint is saved) and
    `restore_random_state` (before the first batch).
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._collected: dict[str, Any] | None = None
        self._loaded: dict[str, Any] | None = None
        self._resumed = False

    def collect_rank_states(self, runner) -> None:
        wrappers = dict(_wrappers(runner.optim_wrapper))
        if all(wrapper._accumulative_counts == 1 for wrapper in wrappers.values()):
            self._collected = None
            return
        self._collected = {
            "windows": {name: [w._inner_count, w._accumulative_counts] for name, w in wrappers.items()},
            "gradients": None,
        }
        if any(_is_open(count, every) for count, every in self._collected["windows"].values()):
            self._collected["gradients"] = _gather(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self._collected is not None and "optimizer" in checkpoint:
            checkpoint["accumulation"] = self._collected

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._resumed = runner._resume
        self._loaded = checkpoint.get("accumulation") if runner._resume else None
        if self._resumed:  # mmengine's warning does not apply
            runner.logger.addFilter(_is_not_about_lost_gradients)

    def restore_random_state(self, runner) -> None:
        if not self._resumed:
            return
        runner.logger.removeFilter(_is_not_about_lost_gradients)
        wrappers = dict(_wrappers(runner.optim_wrapper))
        windows = {name: [w._inner_count, w._accumulative_counts] for name, w in wrappers.items()}
        saved = self._loaded["windows"] if self._loaded else windows
        gradients = self._loaded["gradients"] if self._loaded else None
        same = saved.keys() == windows.keys() and all(saved[n][1] == every for n, (_, every) in windows.items())
        usable = same and not runner.train_loop.batches_changed
        if usable and self._loaded:
            for name, wrapper in wrappers.items():
                wrapper._inner_count = saved[name][0]
            if gradients is not None:
                self._put_back(runner, gradients)
        if any(_is_open(*window) for window in saved.values()) and not (usable and gradients is not None):
            done = ", ".join(f"{count % every} of {every}" for count, every in saved.values())
            why = "lacks their gradients" if gradients is None else "their gradients do not fit the changed settings"
            runner.logger.warning(
                f"the checkpoint was written inside an accumulation window ({done} iterations) and {why}: these "
                "iterations count as done, but are left out of the next optimizer step. To lose nothing resume with "
                "the batch size and accumulative_counts of the run, or from a checkpoint at a multiple of the latter."
            )
        self._loaded, self._resumed = None, False

    def _put_back(self, runner, gradients: list[dict[str, torch.Tensor]]) -> None:
        """Restore the gradients of each rank, or their mean for another number of ranks and for sharded parameters."""
        if len(gradients) == runner.world_size and not isinstance(runner.model, FullyShard):
            mine = gradients[get_rank()]
        else:
            names = {name for rank in gradients for name in rank}
            mine = {n: sum(rank[n] for rank in gradients if n in rank) / len(gradients) for n in names}
        for name, parameter in _model(runner).named_parameters():
            if name in mine:
                # in the memory format of the parameter, as needed by fused optimizers
                parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(
                    split_like(mine[name], parameter)
                )


def _wrappers(wrapper: OptimWrapper | OptimWrapperDict) -> Iterator[tuple[str, OptimWrapper]]:
    return wrapper.items() if isinstance(wrapper, OptimWrapperDict) else iter([("", wrapper)])


def _model(runner) -> torch.nn.Module:
    return unwrap(runner.model)


def _gather(runner) -> list[dict[str, torch.Tensor]] | None:
    """Return the gradients of each rank; for a sharded model one dict of their mean, or None if not reduced yet."""
    gradients = {n: p.grad for n, p in _model(runner).named_parameters() if p.grad is not None}
    if not isinstance(runner.model, FullyShard):
        return all_gather_object({name: gradient.detach().cpu() for name, gradient in gradients.items()})
    if runner.model.defer_gradient_sync:
        return None
    return [gather_whole(gradients, keep=is_main_process())]


def _is_open(count: int, every: int) -> bool:
    return count % every != 0


def _is_not_about_lost_gradients(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Resumed iteration number is not divisible")
