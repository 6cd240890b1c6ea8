"""Published weights as checkpoints of this project, by name: for testing, and as the start of a training."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from vislab import __version__
from vislab.apis.build import load
from vislab.apis.models import create_model
from vislab.datasets.class_list import loose_name
from vislab.engine.config.source import is_name
from vislab.errors import ConfigError, did_you_mean
from vislab.io.checkpoint import load_checkpoint, save_weights
from vislab.zoo.catalogue import Entry, read_catalogue
from vislab.zoo.pretrained import cache_folder, download, load_pretrained, published_weights

logger = logging.getLogger(__name__)


def resolve_weights(given: str | Path) -> str | Path:
    """Return a checkpoint: `given`, or for a name of the catalogue the file of its weights (`published_checkpoint`).

    Raises:
        ConfigError: A name without folder and suffix that is neither a file nor in the catalogue, or has no weights.
    """
    if not is_name(given) or "$" in str(given):
        return given
    entries = read_catalogue()
    if str(given) not in entries:
        hint = did_you_mean(str(given), entries, ".")
        raise ConfigError(
            f"{str(given)!r} is neither a file nor a name with published weights{hint} "
            "`vislab download --list` lists the names"
        )
    return published_checkpoint(entries[str(given)])


def published_checkpoint(entry: Entry) -> Path:
    """Return the weights of an entry as a checkpoint, downloaded and converted at the first call.

    Weights of other layouts are written with the names of this project to CACHE/converted.

    Raises:
        ConfigError, DataError, CheckpointError: See `load_pretrained`.
    """
    weights, source = published_weights(entry), download(entry)
    if weights.layout == "vislab":
        return source
    facts = f"{source.resolve()} {source.stat().st_size} {source.stat().st_mtime_ns} {__version__}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    target = cache_folder() / "converted" / f"{entry.name}-{digest}.safetensors"
    if not target.is_file():
        model = create_model(entry.name, device="cpu", cfg_options=entry.options)
        meta = load_pretrained(model, entry)
        own = _config_classes(load(entry.name))
        if own and same_classes(meta.get("classes", ()), own):
            meta["classes"] = own
        save_weights(model.state_dict(), target, {"dataset_meta": _plain(meta)} if meta else {})
        logger.info("converted %s to %s", source, target)
    return target


def published_options(config: str | Path | Config, checkpoint: str | Path | None) -> Mapping[str, Any]:
    """Return the changes of a config that its published weights need; {} unless they are used."""
    name = config if checkpoint is None else checkpoint
    if not is_name(name) or not is_name(config) or str(config) != str(name):
        return {}
    entry = read_catalogue().get(str(name))
    return {} if entry is None else entry.options


def use_checkpoint_classes(dataset: dict, checkpoint: str | Path) -> None:
    """Set the class list of a checkpoint in a dataset config, unless it has one: labels are places in that list."""
    while "dataset" in dataset:  # wrappers
        dataset = dataset["dataset"]
    classes = ((load_checkpoint(checkpoint).get("meta") or {}).get("dataset_meta") or {}).get("classes")
    if classes and not dataset.get("metainfo") and not dataset.get("classes"):
        dataset["metainfo"] = {"classes": list(classes)}


def same_classes(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two lists name the same classes in the same order, if spelled differently.

    Names of the hub may have synonyms, as in "door, double door" for "door", or another form, as "windowpane" for
    "window". At each place, one of the synonyms must contain one of the others.
    """
    return len(names) == len(others) and all(
        any(a in b or b in a for a in _synonyms(name) for b in _synonyms(other))
        for name, other in zip(names, others, strict=True)
    )


def _synonyms(name: str) -> list[str]:
    return [loose_name(part) for part in re.split("[,;]", name) if part.strip()]


def _config_classes(cfg: Config) -> tuple[str, ...]:
    """Return the class names that the dataset for validation has without reading files; () if there are none."""
    dataset = (cfg.get("val_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset:  # wrappers
        dataset = dataset["dataset"]
    meta = dataset.get("metainfo") or getattr(dataset.get("type"), "METAINFO", {})
    return tuple(meta.get("classes") or ())


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in meta.items()}
