"""Hook that saves checkpoints; a new checkpoint is complete before an old one is removed."""

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from vislab.engine.distributed import call_on_main
from vislab.engine.resume.latest import POINTER_NAME, starting_pointer, step_checkpoints
from vislab.errors import ConfigError
from vislab.io.atomic import copy_atomically, remove_leftovers, write_text_atomically
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.paths import expand
from vislab.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """Saves `epoch_N.pth` or `iter_N.pth`, the best checkpoint, and `last_checkpoint` in the work directory.

    Args:
        interval: Epochs or iterations between checkpoints; -1 for the last one only.
        by_epoch: Whether to count epochs or iterations. Default: as in the training loop.
        save_optimizer: Save the optimizer state, which is needed to resume.
        save_param_scheduler: Save the scheduler states, which are needed to resume.
        max_keep_ckpts: Number of latest checkpoints to keep; -1 for all.
        save_last: Always save after the last epoch or iteration.
        save_best: Name of a validation metric, several, or "auto" for the first one.
        rule: "greater" or "less", one per metric. Default: inferred from the name of the metric.
        greater_keys: Parts of names for which greater is better. Default: mmengine's list.
        less_keys: Parts of names for which less is better. Default: mmengine's list.
        published_keys: After training also save the last and best checkpoints with these keys only.
        save_begin: First epoch or iteration to save.
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
        self._kept: list[int] = []
        self._surplus: list[str] = []
        self._new_best = False
        self._best: dict[str, tuple[float, str | None]] = {}
        self.last_ckpt = None

    # -- state for resuming: file names in the work directory, no paths --

    def state_dict(self) -> dict[str, Any]:
        return {"kept": list(self._kept), "last": _name(self.last_ckpt), "best": dict(self._best)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._kept = list(state["kept"])
        self._best = {key: (score, _name(name)) for key, (score, name) in state["best"].items()}
        self.last_ckpt = _name(state["last"])

    def load_older_state(self, hub) -> None:
        """Load the state of older checkpoints, which is in the message hub."""
        self._kept = list(hub.get_info("keep_ckpt_ids", []))
        self.last_ckpt = _name(hub.get_info("last_ckpt"))
        for key in self.save_best or ():
            score, path = hub.get_info(self._info("best_score", key)), hub.get_info(self._info("best_ckpt", key))
            if score is not None:
                self._best[key] = (score, _name(path))

    # -- the run --

    def before_train(self, runner) -> None:
        if self._follow_loop:
            self.by_epoch = getattr(runner.train_loop, "by_epoch", True)
        self.filename_tmpl = "epoch_{}.pth" if self.by_epoch else "iter_{}.pth"
        self.out_dir = runner.work_dir
        if is_main_process():
            for path in remove_leftovers(self.out_dir):
                runner.logger.info(f"removed {path}, left half-written by a run that was killed")
        source = Path(expand(runner.loaded_from)) if runner.resumed else None
        if source is None:
            self._kept, self._best, self.last_ckpt = [], {}, None
        elif not self._is_here(source):
            self._kept, self.last_ckpt = [], None  # files of these names would be of another run
        self._kept = [step for step in self._kept if self._step_path(step).exists()]
        for key, (score, name) in list(self._best.items()):
            self._best[key] = (score, call_on_main(lambda k=key, n=name: self._best_file(k, n, source)))
            if self._best[key][1] is None:
                del self._best[key]
                runner.logger.warning(
                    f"the best checkpoint so far, {name} ({key} {score:.4g}), is not in {self.out_dir}: the best "
                    "one is selected again from now on"
                )
        call_on_main(lambda: self._point_at_start(source))

    def _is_here(self, path: Path) -> bool:
        return path.parent.is_dir() and path.parent.samefile(self.out_dir)

    def _point_at_start(self, source: Path | None) -> None:
        """Write `last_checkpoint` at the start, for `--resume` before the first checkpoint."""
        pointer = Path(self.out_dir) / POINTER_NAME
        if source is not None and self._is_here(source):
            write_text_atomically(str(Path(self.out_dir) / source.name), pointer)
        elif source is not None or pointer.exists() or step_checkpoints(self.out_dir):
            write_text_atomically(starting_pointer(source and str(source.absolute())), pointer)

    def _best_file(self, key: str, name: str | None, source: Path) -> str | None:
        """Return the name of the best checkpoint of a resumed run, copied here if needed; None if missing."""
        if not name:
            return None
        mine, theirs = Path(self.out_dir) / name, source.parent / name
        if self._is_here(source):
            # a killed run may have continued after its last checkpoint and replaced this best file
            return name if mine.is_file() or any(mine.parent.glob(f"{self._best_stem(key)}*.pth")) else None
        if theirs.is_file() and not mine.exists():
            copy_atomically(theirs, mine)
        return name if theirs.is_file() and filecmp.cmp(theirs, mine, shallow=False) else None

    def _step_path(self, step: int) -> Path:
        return Path(self.out_dir) / self.filename_tmpl.format(step)

    def _best_stem(self, key: str) -> str:
        return f"best_{key}_{self.filename_tmpl.split('_')[0]}_".replace("/", "_")

    def _info(self, name: str, key: str) -> str:
        """Return the key in the message hub of the best score or file of a metric."""
        return name if len(self.save_best) == 1 else f"{name}_{key}"

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Save the checkpoint of `step`, update `last_checkpoint`, then remove old checkpoints."""
        self._kept = [kept for kept in self._kept if kept != step] + [step]
        surplus = self._kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        self._kept = self._kept[len(surplus) :]
        path = self._step_path(step)
        self.last_ckpt = str(path)
        runner.message_hub.update_info("keep_ckpt_ids", list(self._kept))
        runner.message_hub.update_info("last_ckpt", path.name)
        runner.save_checkpoint(
            self.out_dir,
            path.name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler and runner.param_schedulers is not None,
            meta=meta,
            by_epoch=self.by_epoch,
        )
        if is_main_process():
            write_text_atomically(self.last_ckpt, Path(self.out_dir) / POINTER_NAME)
            for old in surplus:
                self._step_path(old).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        if "auto" in self.key_indicators:
            self.save_best = [next(iter(metrics))]
            self._init_rule(self.rules, self.save_best)
            if "auto" in self._best:  # from a checkpoint without the name of the metric
                self._best[self.save_best[0]] = self._best.pop("auto")
        step = runner.epoch if self.by_epoch else runner.iter
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            if key not in metrics:
                raise ConfigError(
                    f"CheckpointHook has save_best={key!r}, but validation has no such metric. "
                    f"It has: {', '.join(map(str, metrics))}"
                )
            score = metrics[key]
            best, old = self._best.get(key, (self.init_value_map[rule], None))
            if score is None or not self.is_better_than[key](score, best):
                continue
            name = f"{self._best_stem(key)}{step}.pth"
            self._best[key] = (score, name)
            runner.message_hub.update_info(self._info("best_score", key), score)
            runner.message_hub.update_info(self._info("best_ckpt", key), name)
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=self.by_epoch,
            )
            runner.logger.info(f"{key} {score:0.4f} is the best so far: saved as {name}")
            self._new_best = True
            if old is not None and old != name:
                self._surplus.append(old)

    def after_val(self, runner) -> None:
        """Update the checkpoint of this step, which was saved before validation, with the new best score."""
        if not self._new_best:
            return
        step = runner.epoch if self.by_epoch else runner.iter
        if step in self._kept:
            self._save_checkpoint_with_step(runner, step, {"epoch": runner.epoch, "iter": runner.iter})
        if is_main_process():
            for name in self._surplus:
                (Path(self.out_dir) / name).unlink(missing_ok=True)
        self._surplus, self._new_best = [], False

    def after_train(self, runner) -> None:
        step = runner.epoch if self.by_epoch else runner.iter
        if self.save_last and step > 0 and _name(self.last_ckpt) != self._step_path(step).name:
            # the run ended between two intervals, e.g. by early stopping
            self._save_checkpoint_with_step(runner, step, {"epoch": runner.epoch, "iter": runner.iter})
        if self.published_keys is None:
            return
        best = [name for _, name in self._best.values()]
        for name in {_name(self.last_ckpt) if self.save_last else None, *best} - {None}:
            if (Path(self.out_dir) / name).is_file():
                self._publish_model(runner, str(Path(self.out_dir) / name))

    @master_only
    def _publish_model(self, runner, ckpt_path: str) -> None:
        checkpoint = load_checkpoint(ckpt_path)
        target = Path(ckpt_path).with_name(f"{Path(ckpt_path).stem}_published.pth")
        save_checkpoint({key: checkpoint[key] for key in self.published_keys if key in checkpoint}, target)
        runner.logger.info(f"published {ckpt_path} as {target}")


def _name(path: str | None) -> str | None:
    """Return the file name of a path, whose folder may have been moved."""
    return None if path is None else Path(path.replace("\\", "/")).name
