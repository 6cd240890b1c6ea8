"""Train a model from a config; `dry_run` stops after the first step."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from vislab.apis.build import Launcher, checked, existing, prepare
from vislab.apis.published import resolve_weights
from vislab.engine.first_errors import one_message
from vislab.engine.resume.latest import step_checkpoints
from vislab.errors import ConfigError, VislabError
from vislab.models.encoders.initial_weights import initial_weights
from vislab.visualization.trackers import add_tracker

AmpDtype = Literal["float16", "bfloat16"]


def train(
    config: str | Path | Config,
    *,
    work_dir: str | Path | None = None,
    resume: bool | str | Path = False,
    load_from: str | Path | None = None,
    amp: bool | AmpDtype = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    log: Sequence[str] = (),
    launcher: Launcher = "none",
    cfg_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Train a model and return the metrics of the last validation (empty without validation).

    Args:
        config: Path of a config file, or a Config.
        work_dir: Folder for checkpoints, logs and metrics.json. Default: work_dirs/<config name>.
        resume: True to resume from the latest complete checkpoint in `work_dir`, if there is one; or the path of a
            checkpoint to resume from.
        load_from: Initialize the model with these weights, with a new optimizer; a path, or a name of the catalogue.
        amp: Use mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU; or "float16" or "bfloat16", of
            which the second needs no loss scaling.
        auto_scale_lr: Scale the learning rate by batch size / `auto_scale_lr.base_batch_size` of the config.
        seed: Random seed of the run.
        log: Trackers of experiments, beside the files in `work_dir`: "tensorboard", "wandb", "mlflow".
        launcher: Launcher of the processes; "none" for a single process.
        cfg_options: Changes of the config by dotted key.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: See vislab.errors.
    """
    cfg = training_config(
        config, work_dir=work_dir, resume=resume, load_from=load_from, amp=amp, auto_scale_lr=auto_scale_lr, seed=seed,
        log=log, launcher=launcher, cfg_options=cfg_options,
    )  # fmt: skip
    from vislab.engine.runner import Runner

    with one_message("building the run"), initial_weights(load=isinstance(resume, bool)):
        runner = Runner.from_cfg(checked(cfg))
    try:
        with one_message("the first step", when=lambda: _steps(runner) == 0):
            runner.train()
    except KeyboardInterrupt as stop:
        stop.work_dir = runner.work_dir  # for the message on how to resume
        raise
    if is_main_process():
        _write_report(Path(runner.work_dir))
    return dict(runner.last_metrics or {})


def _write_report(work_dir: Path) -> None:
    """Write report.html; a run does not fail because of it."""
    from vislab.report.page import write_report

    try:
        print_log(f"report: {write_report([work_dir], work_dir / 'report.html')}", logger="current")
    except (VislabError, OSError) as error:
        print_log(f"no report was written: {error}", logger="current", level=logging.WARNING)


def training_config(
    config: str | Path | Config,
    *,
    resume: bool | str | Path = False,
    load_from: str | Path | None = None,
    amp: bool | AmpDtype = False,
    auto_scale_lr: bool = False,
    log: Sequence[str] = (),
    **run: Any,
) -> Config:
    """Return the config that `train` passes to the Runner; arguments as in `train`."""
    cfg = prepare(config, **run)
    if resume and load_from:
        raise ConfigError("resume continues a run, load_from starts a new one with its weights: use only one of them")
    if resume:
        if resume is True:
            cfg.resume = "auto"  # without a checkpoint, training starts from load_from of the config
            if step_checkpoints(cfg.work_dir):
                cfg.load_from = None
        else:
            cfg.resume, cfg.load_from = True, existing(resume)
    elif load_from:
        cfg.load_from = existing(resolve_weights(load_from))
    for name in log:
        cfg.visualizer = add_tracker(cfg.get("visualizer") or {"type": "Visualizer"}, name)
    if amp:
        _enable_amp(cfg, None if amp is True else amp)
    if auto_scale_lr:
        if not cfg.get("auto_scale_lr", {}).get("base_batch_size"):
            raise ConfigError(
                "auto_scale_lr needs the batch size for which the learning rate was chosen: "
                "add auto_scale_lr=dict(base_batch_size=N) to the config"
            )
        cfg.auto_scale_lr.enable = True
    return cfg


def _enable_amp(cfg: Config, dtype: str | None) -> None:
    if not cfg.get("optim_wrapper"):
        raise ConfigError("amp=True changes `optim_wrapper`, which this config does not have")
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    name = (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    if name not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ConfigError(f"amp=True replaces a plain OptimWrapper; optim_wrapper.type is {name}: set its own option")
    cfg.optim_wrapper.type = "vislab.engine.optim.amp.AmpOptimWrapper"  # as text: it is written to work_dir
    if dtype is not None:
        cfg.optim_wrapper.dtype = dtype  # checked with the config


def dry_run(config: str | Path | Config, **flags: Any) -> dict[str, Any]:
    """Run one training step and evaluate one validation batch, without writing files.

    Args:
        config: Path of a config file, or a Config.
        flags: As in `train`.

    Returns:
        Parameters, loss, batches and seconds of each data loader, and metrics of one batch; see `take_first_step`.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: As in `train`.
    """
    from vislab.engine.first_step import take_first_step

    with initial_weights(load=isinstance(flags.get("resume", False), bool)):
        cfg = checked(training_config(config, **flags))
        with one_message("the first step"):
            return take_first_step(cfg)


def _steps(runner: Any) -> int:
    """Training iterations that are done; 0 while the loop is not built."""
    return getattr(runner._train_loop, "iter", 0)
