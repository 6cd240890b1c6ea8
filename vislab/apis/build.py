"""Load and prepare configs, and build models with weights."""

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
from vislab.engine.config.check import check_config, check_settings
from vislab.engine.config.load import load_config
from vislab.engine.device import usable_device
from vislab.errors import ConfigError, check_choice
from vislab.io.checkpoint import load_checkpoint
from vislab.io.download import is_address
from vislab.io.paths import expand, expand_path
from vislab.io.weights import load_state
from vislab.models.encoders.initial_weights import initial_weights
from vislab.registry import MODELS

Launcher = Literal["none", "pytorch", "slurm", "mpi"]


def load(config: str | Path | Config, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Load a config file and apply `cfg_options` ({"model.depth": 3}); a Config is returned unchanged.

    Raises:
        ConfigError: The file or an option is invalid.
    """
    if isinstance(config, Config):
        if cfg_options:
            raise ConfigError("cfg_options apply to a config file; modify a loaded Config directly")
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
    """Load a config and set launcher, work directory and seed.

    The work directory is `work_dir`, else that of the config, else work_dirs/<config name>.
    """
    cfg = load(config, cfg_options)
    check_settings(cfg)
    check_choice("launcher", launcher, ("none", "pytorch", "slurm", "mpi"))
    cfg.launcher = launcher
    if work_dir is not None or cfg.get("work_dir"):
        cfg.work_dir = expand_path(str(work_dir or cfg.work_dir), "work_dir")
    elif not cfg.get("work_dir"):
        cfg.work_dir = os.path.join("work_dirs", Path(cfg.filename or "notebook").stem)
    if seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed}
    return cfg


def existing(checkpoint: str | Path) -> str:
    """Return the path of a checkpoint; raises CheckpointError if the file does not exist."""
    expanded = expand(checkpoint)
    if not is_address(expanded) and not os.path.isfile(expanded):
        load_checkpoint(checkpoint)
    return str(checkpoint)


def checked(cfg: Config, *, train: bool = True) -> Config:
    """Return the config after `check_config`, which looks for the training data too if `train` is set."""
    check_config(cfg, train=train)
    return cfg


def build_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    *,
    initial: bool | None = None,
) -> nn.Module:
    """Build the model of a config, in eval mode. No data is read.

    Args:
        config: Path of a config file, or a Config.
        checkpoint: Weights, which must match exactly. Default: initial weights.
        device: Device such as "cuda:0". Default: the device that mmengine would use for training.
        initial: Load initial weights, such as those of ImageNet for an encoder. Default: if there is no checkpoint.

    Raises:
        ConfigError: The device is not available, or the config is invalid.
        CheckpointError: The weights cannot be read or do not match.
    """
    cfg = load(config)
    target = usable_device(device or get_device())  # first, since building the model can take long
    init_default_scope(cfg.get("default_scope", "vislab"))
    model_cfg = dict(cfg.model)
    if "data_preprocessor" in cfg:
        model_cfg.setdefault("data_preprocessor", cfg.data_preprocessor)
    initial = checkpoint is None if initial is None else initial
    with initial_weights(load=initial):
        model = MODELS.build(model_cfg)
    if initial:
        _init_quietly(model)
    if checkpoint is not None:
        load_state(model, load_checkpoint(checkpoint), source=str(checkpoint))
    return model.to(target).eval()


def _init_quietly(model: nn.Module) -> None:
    """Call `model.init_weights()` without mmengine's log message for each parameter."""
    if not hasattr(model, "init_weights"):
        return
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
