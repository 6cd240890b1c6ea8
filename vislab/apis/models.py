"""Models by name: those of the catalogue and of the shipped configs, with their published weights."""

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from vislab.apis.build import build_model, load
from vislab.engine.config.dry import without_weights
from vislab.engine.config.source import is_name, shipped_configs
from vislab.errors import ConfigError, did_you_mean
from vislab.zoo.catalogue import Entry, read_catalogue
from vislab.zoo.pretrained import download, load_pretrained, published_weights

logger = logging.getLogger(__name__)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Return the sorted names that `create_model` and `Predictor` accept.

    Args:
        pattern: With the wildcards * and ?, such as "mask2former_swin_*".
        pretrained: Only models with published weights.
    """
    catalogue = read_catalogue()
    names = {name for name, entry in catalogue.items() if entry.weights} if pretrained else shipped_configs().keys()
    return sorted(name for name in names if fnmatch(name, pattern))


def create_model(
    name: str,
    pretrained: bool | str | Path = False,
    *,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return the model of a name, in eval mode.

    Args:
        name: A name of `list_models()`, or the path of a config.
        pretrained: True for the published weights, which are downloaded once; a path of weights; or False for random
            weights, also of the encoder.
        device: Device such as "cpu". Default: a GPU if available.
        cfg_options: Changes of the config by dotted key, such as {"model.num_classes": 5}.

    Raises:
        ConfigError: Unknown name, or there are no published weights.
        CheckpointError: The weights do not match.
    """
    if pretrained is True:
        return load_model(name, None, device=device, cfg_options=cfg_options, named=True)[1]
    checkpoint = pretrained or None
    cfg = load(name, cfg_options)
    if checkpoint is None:
        cfg.model = without_weights(cfg.model)
    return build_model(cfg, checkpoint, device)


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    *,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    named: bool = False,
) -> tuple[Config, nn.Module, dict]:
    """Return the config, the model with weights, and the metainfo that comes with published weights.

    Args:
        config: A name, the path of a config, or a Config.
        checkpoint: Weights. None: the published ones for a name, else initial weights.
        device, cfg_options: As in `create_model`.
        named: Refuse configs without a name.

    Raises:
        ConfigError, CheckpointError: As in `create_model`.
    """
    entry = None
    if checkpoint is None and (named or is_name(config)):
        entry = _published(config)
    options = {**entry.options, **(cfg_options or {})} if entry else cfg_options
    cfg = load(config, options)
    if entry:
        download(entry)  # before the model is built, which takes longer than a message about the network
    model = build_model(cfg, checkpoint, device, initial=entry is None and checkpoint is None)
    metainfo = load_pretrained(model, entry) if entry else {}
    if entry is None and checkpoint is None:
        logger.warning("no weights were given: the model has the initial weights of its config")
    return cfg, model, metainfo


def _published(name: str | Path | Config) -> Entry:
    """Return the entry of a name with published weights.

    Raises:
        ConfigError: Unknown name, or none are published.
    """
    entries, shipped = read_catalogue(), shipped_configs()
    if not is_name(name):
        raise ConfigError(f"{getattr(name, 'filename', name)} is not a name of the catalogue: pass weights")
    if name not in entries and str(name) not in shipped:
        raise ConfigError(
            f"there is no model {str(name)!r}{did_you_mean(str(name), shipped, '.')} `vislab download --list` lists "
            "those with published weights; vislab.list_models() lists all"
        )
    if str(name) not in entries:
        raise ConfigError(f"no weights of {name} are published: pass a checkpoint")
    published_weights(entries[str(name)])
    return entries[str(name)]
