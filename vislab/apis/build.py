"""From a config file and a few flags to a checked config, and from a config to a model with its weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

import vislab.engine  # noqa: F401  the mmengine fixes and the registered engine parts
from vislab.engine.config.check import check_config
from vislab.engine.config.load import load_config
from vislab.engine.device import usable_device
from vislab.errors import ConfigError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.paths import expand_path
from vislab.io.weights import load_state
from vislab.registry import MODELS

Launcher = Literal["none", "pytorch", "slurm", "mpi"]


def load(config: str | Path | Config, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """A config from its file, with `cfg_options` ({"model.depth": 3}) applied; a Config stays as it is.

    Raises:
        ConfigError: the file or an option is wrong.
    """
    if isinstance(config, Config):
        if cfg_options:
            raise ConfigError("cfg_options change a config file; change a loaded Config itself")
        return config
    return load_config(config, dict(cfg_options or {}))


def prepare(
    config: str | Path | Config,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    work_dir: str | Path | None = None,
    seed: int | None = None,
    launcher: Launcher = "none",
) -> Config:
    """Load a config and set what every run needs. The work folder is `work_dir`, else the config's, else
    work_dirs/<config name>."""
    cfg = load(config, cfg_options)
    if launcher not in ("none", "pytorch", "slurm", "mpi"):
        raise ConfigError(f"launcher={launcher!r} is not one of none, pytorch, slurm, mpi")
    cfg.launcher = launcher
    if work_dir is not None or cfg.get("work_dir"):
        cfg.work_dir = expand_path(str(work_dir or cfg.work_dir), "work_dir")
    elif not cfg.get("work_dir"):
        cfg.work_dir = os.path.join("work_dirs", Path(cfg.filename or "notebook").stem)
    if seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed}
    return cfg


def existing(checkpoint: str | Path) -> str:
    """The path itself; a missing file is reported as a checkpoint, with the names beside it, before anything starts."""
    expanded = os.path.expanduser(os.path.expandvars(checkpoint))
    if not expanded.startswith(("http://", "https://")) and not os.path.isfile(expanded):
        load_checkpoint(checkpoint)
    return str(checkpoint)


def checked(cfg: Config) -> Config:
    """The config itself, once `check_config` has nothing against it."""
    check_config(cfg)
    return cfg


def build_model(
    config: str | Path | Config, checkpoint: str | Path | None = None, device: str | None = None
) -> nn.Module:
    """Only the model, in eval mode; no data is touched.

    Args:
        config: a file or a Config.
        checkpoint: weights that must fit exactly; None: initial weights.
        device: e.g. "cuda:0"; None: where mmengine would train.

    Raises:
        ConfigError: the device cannot be used, or the config is wrong.
        CheckpointError: the weights cannot be read or do not fit.
    """
    cfg = load(config)
    target = usable_device(device or get_device())  # before the model is built, which can take long
    init_default_scope(cfg.get("default_scope", "vislab"))
    model_cfg = dict(cfg.model)
    if "data_preprocessor" in cfg:
        model_cfg.setdefault("data_preprocessor", cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    if checkpoint is None:
        _init_quietly(model)
    else:
        load_state(model, load_checkpoint(checkpoint), source=str(checkpoint))
    return model.to(target).eval()


def _init_quietly(model: nn.Module) -> None:
    """`model.init_weights()` without mmengine's message about each parameter."""
    if not hasattr(model, "init_weights"):
        return
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
