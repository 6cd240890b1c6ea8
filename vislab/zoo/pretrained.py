"""Download the weights of a model of the catalogue once, and load them."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import nn

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.download import fetch
from vislab.io.weights import load_state
from vislab.zoo.catalogue import Entry, Weights
from vislab.zoo.foreign import load_foreign

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # older repositories have the second only
logger = logging.getLogger(__name__)


def download(entry: Entry, folder: str | Path | None = None) -> Path:
    """Return the file of weights of an entry, downloaded at the first call.

    Args:
        entry: Entry of the catalogue.
        folder: Folder for files that are not on the hub. Default: $VISLAB_CACHE, else ~/.cache/vislab.

    Raises:
        ConfigError: The entry has no weights.
        DataError: The file cannot be downloaded.
    """
    if not entry.weights:
        raise ConfigError(f"no weights of {entry.name} are published: pass a checkpoint")
    weights = entry.weights[0]
    if weights.hub:
        return _from_hub(weights, (weights.file,) if weights.file else _HUB_FILES)
    place = Path(folder or os.environ.get("VISLAB_CACHE") or Path.home() / ".cache/vislab") / entry.name
    errors = []
    for address in weights.url:
        try:
            return fetch(address, place / Path(address).name, sha256=weights.sha256 or None)
        except DataError as error:
            errors.append(str(error))
    raise DataError("\n".join(errors))


def load_pretrained(model: nn.Module, entry: Entry) -> dict:
    """Load the weights of an entry into its model; returns the metainfo of its data, with `classes` if known.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape; see also `load_foreign`.
        ConfigError, DataError: As in `download`.
    """
    path, weights = download(entry), entry.weights[0]
    logger.info("weights of %s: %s (license: %s)", entry.name, weights.hub or weights.url[0], weights.license)
    if weights.layout == "vislab":
        checkpoint = load_checkpoint(path)
        load_state(model, checkpoint, source=str(path))
        return (checkpoint.get("meta") or {}).get("dataset_meta") or {}
    report = load_foreign(model, path, weights.layout)
    if report.missing or report.unexpected or report.mismatched:
        raise CheckpointError(f"{path} does not fit {entry.name} exactly: {report}")
    return _hub_classes(model, weights) if weights.hub else {}


def _from_hub(weights: Weights, files: Sequence[str]) -> Path:
    """Return the first of `files` that the repository has."""
    for file in files:
        try:
            return Path(hf_hub_download(weights.hub, file, revision=weights.revision))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            failure: Exception = error
            why = (
                f"{' or '.join(files)} is not in the cache, and the hub cannot be reached. Download it where there is "
                f"a network: hf download {weights.hub}"
            )
        except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
            failure, why = error, f"{file} cannot be downloaded: {str(error).splitlines()[0]}"
    raise DataError(f"{weights.hub}: {why}") from failure


def _hub_classes(model: nn.Module, weights: Weights) -> dict:
    """Return {"classes": names} of the labels in config.json of a repository; {} if it has none for all classes."""
    content = json.loads(_from_hub(weights, ("config.json",)).read_text(encoding="utf-8"))
    labels = content.get("id2label") or {}
    names = tuple(labels[key] for key in sorted(labels, key=int))
    return {"classes": names} if len(names) == getattr(model, "num_classes", None) else {}
