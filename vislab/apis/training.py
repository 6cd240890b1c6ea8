"""Train a config: check it, build the Runner, train; `dry_run` goes as far as the first step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from vislab.apis.build import Launcher, checked, existing, prepare
from vislab.engine.resume.latest import step_checkpoints
from vislab.errors import ConfigError


def train(
    config: str | Path | Config,
    *,
    work_dir: str | Path | None = None,
    resume: bool | str | Path = False,
    load_from: str | Path | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    launcher: Launcher = "none",
    cfg_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Train, and return the metrics of the last validation (empty when the config validates nothing).

    Args:
        config: a file or a Config.
        work_dir: where checkpoints, logs and metrics.json go; default work_dirs/<config name>.
        resume: True: go on from the newest complete checkpoint in `work_dir`, from the start if there is none; a path:
            go on from that one.
        load_from: start from these weights, with a fresh optimizer.
        amp: mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU.
        auto_scale_lr: scale the learning rate by batch size / the config's `auto_scale_lr.base_batch_size`.
        seed: of everything random in the run.
        launcher: how processes were started; "none" for one process.
        cfg_options: changes to the config, by dotted key.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: see vislab.errors.
    """
    cfg = training_config(
        config, work_dir=work_dir, resume=resume, load_from=load_from, amp=amp, auto_scale_lr=auto_scale_lr, seed=seed,
        launcher=launcher, cfg_options=cfg_options,
    )  # fmt: skip
    from vislab.engine.runner import Runner

    runner = Runner.from_cfg(checked(cfg))
    try:
        runner.train()
    except KeyboardInterrupt as stop:
        stop.work_dir = runner.work_dir  # for who wants to say how to go on
        raise
    return dict(runner.last_metrics or {})


def training_config(
    config: str | Path | Config,
    *,
    resume: bool | str | Path = False,
    load_from: str | Path | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    **run: Any,
) -> Config:
    """The config as `train` hands it to the Runner; arguments as there."""
    cfg = prepare(config, **run)
    if resume and load_from:
        raise ConfigError("resume goes on with a run, load_from starts a new one from its weights: give one of the two")
    if resume:
        if resume is True:
            cfg.resume = "auto"  # where there is nothing to resume yet, the run starts, from the config's load_from
            if step_checkpoints(cfg.work_dir):
                cfg.load_from = None
        else:
            cfg.resume, cfg.load_from = True, existing(resume)
    elif load_from:
        cfg.load_from = existing(load_from)
    if amp:
        _enable_amp(cfg)
    if auto_scale_lr:
        if not cfg.get("auto_scale_lr", {}).get("base_batch_size"):
            raise ConfigError(
                "auto_scale_lr needs the batch size that the learning rate was chosen for: "
                "put auto_scale_lr=dict(base_batch_size=N) into the config"
            )
        cfg.auto_scale_lr.enable = True
    return cfg


def _enable_amp(cfg: Config) -> None:
    if not cfg.get("optim_wrapper"):
        raise ConfigError("amp=True changes `optim_wrapper`, which this config does not have")
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    name = (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    if name not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ConfigError(f"amp=True replaces a plain OptimWrapper; optim_wrapper.type is {name}: set its own option")
    cfg.optim_wrapper.type = "vislab.engine.optim.amp.AmpOptimWrapper"  # as text: it is written to work_dir


def dry_run(config: str | Path | Config, **flags: Any) -> dict[str, Any]:
    """Everything that happens up to the first step: config check, model, data, optimizer, schedulers, hooks, one
    training step, one validation batch through its metric. Nothing is written.

    Args:
        config: a file or a Config.
        flags: as for `train`.

    Returns:
        See `take_first_step`: parameters, loss, batches and seconds of each loader, metrics of one batch.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: as `train`.
    """
    cfg = checked(training_config(config, **flags))
    from vislab.engine.first_step import take_first_step

    return take_first_step(cfg)
