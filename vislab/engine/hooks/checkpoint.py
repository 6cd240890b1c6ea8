"""Writes checkpoints in the order that cannot lose one: the new file stands before an old one goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from vislab.engine.checkpoint import load_checkpoint, remove_leftovers, save_checkpoint, write_text_atomically
from vislab.errors import ConfigError
from vislab.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """Saves `epoch_N.pth` or `iter_N.pth` into the work directory, the best one beside them, and `last_checkpoint`.

    Args:
        interval: Epochs or iterations between two checkpoints; -1: only the last.
        by_epoch: Count epochs or iterations. None: as the training loop does.
        save_optimizer: Without it the file is smaller and cannot be resumed from.
        save_param_scheduler: As above.
        max_keep_ckpts: How many of the latest stay; -1: all.
        save_last: Save after the last epoch or iteration whatever the interval.
        save_best: Name of a validation metric, several, or "auto" for the first one.
        rule: "greater" or "less", one for each metric. None: guessed from the metric's name.
        greater_keys: Parts of names for which greater is better; None: mmengine's list.
        less_keys: Parts of names for which less is better; None: mmengine's list.
        published_keys: After training also write the last and best checkpoints with these keys only.
        save_begin: Nothing is saved before this epoch or iteration.
    """

    def __init__(
        self,
        *,
        interval: int = 1,
        by_epoch: bool | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | list[str] | None = None,
        greater_keys: Sequence[str] | None = None,
        less_keys: Sequence[str] | None = None,
        published_keys: str | list[str] | None = None,
        save_begin: int = 0,
    ) -> None:
        super().__init__(
            interval=interval,
            by_epoch=bool(by_epoch),
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            max_keep_ckpts=max_keep_ckpts,
            save_last=save_last,
            save_best=save_best,
            rule=rule,
            greater_keys=greater_keys,
            less_keys=less_keys,
            published_keys=published_keys,
            save_begin=save_begin,
        )
        self._follow_loop = by_epoch is None

    def before_train(self, runner) -> None:
        if self._follow_loop:
            self.by_epoch = getattr(runner.train_loop, "by_epoch", True)
        self.filename_tmpl = "epoch_{}.pth" if self.by_epoch else "iter_{}.pth"
        self.out_dir = runner.work_dir
        if is_main_process():
            for path in remove_leftovers(self.out_dir):
                runner.logger.info(f"removed {path}, left half-written by a run that was killed")
        kept = runner.message_hub.get_info("keep_ckpt_ids", [])
        self.keep_ckpt_ids = [step for step in kept if self._step_path(step).exists()]
        if self.save_best is not None:
            self._best_paths = {
                key: runner.message_hub.get_info(self._info("best_ckpt", key)) for key in self.save_best
            }

    def _step_path(self, step: int) -> Path:
        return Path(self.out_dir) / self.filename_tmpl.format(step)

    def _info(self, name: str, key: str) -> str:
        """The message hub's name of the best score or path of one metric."""
        return name if len(self.save_best) == 1 else f"{name}_{key}"

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Write the checkpoint of `step`, then point at it, then remove those that are too many."""
        if step not in self.keep_ckpt_ids:
            self.keep_ckpt_ids.append(step)
        surplus = self.keep_ckpt_ids[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        self.keep_ckpt_ids = self.keep_ckpt_ids[len(surplus) :]
        path = self._step_path(step)
        self.last_ckpt = str(path)
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            path.name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler and runner.param_schedulers is not None,
            meta=meta,
            by_epoch=self.by_epoch,
        )
        if is_main_process():
            write_text_atomically(self.last_ckpt, Path(runner.work_dir) / "last_checkpoint")
            for old in surplus:
                self._step_path(old).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        if "auto" in self.key_indicators:
            self.save_best = [next(iter(metrics))]
            self._init_rule(self.rules, self.save_best)
            self._best_paths = {key: runner.message_hub.get_info("best_ckpt") for key in self.save_best}
        step = runner.epoch if self.by_epoch else runner.iter
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        surplus = []
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            if key not in metrics:
                raise ConfigError(
                    f"CheckpointHook has save_best={key!r}, but validation gives no such metric. "
                    f"It gives: {', '.join(map(str, metrics))}"
                )
            score = metrics[key]
            best = runner.message_hub.get_info(self._info("best_score", key), self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best):
                continue
            surplus.append(self._best_paths[key])
            name = f"best_{key}_{self.filename_tmpl.format(step)}".replace("/", "_")
            self._best_paths[key] = str(Path(self.out_dir) / name)
            runner.message_hub.update_info(self._info("best_score", key), score)
            runner.message_hub.update_info(self._info("best_ckpt", key), self._best_paths[key])
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=self.by_epoch,
            )
            runner.logger.info(f"{key} {score:0.4f} is the best so far: saved as {name}")
        if not surplus:
            return
        if step in self.keep_ckpt_ids:  # the step's checkpoint was written before this validation: tell it the new best
            self._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            for old in set(filter(None, surplus)) - set(self._best_paths.values()):
                Path(old).unlink(missing_ok=True)

    def after_train(self, runner) -> None:
        if self.published_keys is None:
            return
        best = self._best_paths.values() if self.save_best else ()
        for path in {self.last_ckpt if self.save_last else None, *best} - {None}:
            self._publish_model(runner, path)

    @master_only
    def _publish_model(self, runner, ckpt_path: str) -> None:
        checkpoint = load_checkpoint(ckpt_path)
        target = Path(ckpt_path).with_name(f"{Path(ckpt_path).stem}_published.pth")
        save_checkpoint({key: checkpoint[key] for key in self.published_keys if key in checkpoint}, target)
        runner.logger.info(f"published {ckpt_path} as {target}")
