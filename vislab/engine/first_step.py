"""Run the first step of a training run in a temporary work directory, for `tools/train.py --check`."""

import copy
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import BaseLoop

from vislab.cli import format_metrics
from vislab.engine.runner import Runner

_LOCAL_BACKENDS = ("LocalVisBackend", "TensorboardVisBackend")


def take_first_step(cfg: Config) -> dict[str, Any]:
    """Build everything in `cfg` and run one training step, one validation batch and one test batch.

    The training step includes hooks, loss, backward, clipping and optimizer; evaluation batches include metrics and the
    hooks that use them (`save_best`, early stopping). The test batch is skipped if test data and metric are those of
    validation. Nothing is written to the work directory of the config, and no checkpoint is saved.

    Args:
        cfg: A checked config; with `resume`, the checkpoint is searched in its `work_dir`.

    Returns:
        `parameters` and `trained_parameters`; for each data loader the number of batches and the seconds until the
        first one; `loss` of the first batch; `val_metrics` and `test_metrics` of one batch, as text.

    Raises:
        VislabError: Any error that the run would raise.
    """
    cfg = copy.deepcopy(cfg)
    checkpoint_dir = cfg.work_dir
    cfg.work_dir = tempfile.mkdtemp(prefix="vislab_check_")
    cfg.experiment_name = f"check_{uuid.uuid4().hex}"
    cfg.log_level = "WARNING"
    for split in ("train", "val", "test"):
        if cfg.get(f"{split}_dataloader"):
            cfg[f"{split}_dataloader"].update(num_workers=0, persistent_workers=False)
    _keep_local_backends(cfg)
    runner = None
    try:
        runner = _FirstStepRunner.from_cfg(cfg)
        runner.checkpoint_dir = checkpoint_dir
        return runner.take()
    finally:
        _forget(runner)
        shutil.rmtree(cfg.work_dir, ignore_errors=True)


def _keep_local_backends(cfg: Config) -> None:
    """Keep only local visualization backends, so that services such as wandb do not record the check."""
    visualizer = cfg.get("visualizer")
    if isinstance(visualizer, Mapping) and visualizer.get("vis_backends"):
        names = [(backend, backend["type"]) for backend in visualizer["vis_backends"]]
        names = [(backend, kind if isinstance(kind, str) else kind.__name__) for backend, kind in names]
        visualizer["vis_backends"] = [b for b, name in names if name.split(".")[-1] in _LOCAL_BACKENDS]


def _forget(runner: "_FirstStepRunner | None") -> None:
    """Close the log file, and remove logger, message hub and visualizer of the run from mmengine's globals."""
    if runner is None:
        return
    for handler in list(runner.logger.handlers):
        handler.close()
    for manager in (MMLogger, MessageHub, type(runner.visualizer)):
        manager._instance_dict.pop(runner.experiment_name, None)


class _FirstStepRunner(Runner):
    """A Runner whose training loop runs one step."""

    def take(self) -> dict[str, Any]:
        parameters = list(self.model.parameters())
        self.found: dict[str, Any] = {
            "parameters": sum(p.numel() for p in parameters),
            "trained_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        }
        if self._train_loop is not None:
            self.train()
        else:
            self.call_hook("before_run")
            self.load_or_resume()
        if self._val_loop is not None:
            self._evaluate_once("val", self.build_val_loop(self._val_loop))
        if self._test_loop is not None:
            loop = self.build_test_loop(self._test_loop)
            if self._val_loop is not None and self._same_evaluation():
                self.found["test_batches"] = len(loop.dataloader)
            else:
                self._evaluate_once("test", loop)
        return self.found

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_train_loop(loop)
        built.run = self._step_once
        return built

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Do not save checkpoints."""

    def _report(self, *args: Any, **kwargs: Any) -> None:
        """Do not write metrics.json."""

    def _step_once(self) -> None:
        self.call_hook("before_train")
        self.call_hook("before_train_epoch")
        self.model.train()
        batch = self._first_batch("train", self.train_dataloader)
        self.call_hook("before_train_iter", batch_idx=0, data_batch=batch)
        outputs = self.model.train_step(batch, optim_wrapper=self.optim_wrapper)
        self.call_hook("after_train_iter", batch_idx=0, data_batch=batch, outputs=outputs)
        self.call_hook("collect_rank_states")  # as before a checkpoint: weights and losses must be finite
        if "loss" in outputs:
            self.found["loss"] = float(outputs["loss"].detach())

    def _evaluate_once(self, stage: str, loop: BaseLoop) -> None:
        self.call_hook(f"before_{stage}")
        self.call_hook(f"before_{stage}_epoch")
        self.model.eval()
        batch = self._first_batch(stage, loop.dataloader)
        loop.run_iter(0, batch)
        metrics = loop.evaluator.evaluate(min(loop.dataloader.batch_size or 1, len(loop.dataloader.dataset)))
        self.call_hook(f"after_{stage}_epoch", metrics=metrics)
        self.call_hook(f"after_{stage}")
        self.found[f"{stage}_metrics"] = format_metrics(metrics).replace("\n", "  ")

    def _first_batch(self, split: str, loader: Any) -> Any:
        start = time.perf_counter()
        batch = next(iter(loader))
        self.found[f"{split}_batches"], self.found[f"{split}_seconds"] = len(loader), time.perf_counter() - start
        return batch

    def _same_evaluation(self) -> bool:
        """Return whether test data and metric are those of validation."""
        pairs = [(self.cfg.get(f"val_{part}"), self.cfg.get(f"test_{part}")) for part in ("dataloader", "evaluator")]
        return all(val == test for val, test in pairs)
