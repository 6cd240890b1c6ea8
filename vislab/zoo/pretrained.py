"""Download the weights of a model of the catalogue once, and load them."""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import nn

from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.atomic import copy_atomically
from vislab.io.checkpoint import load_checkpoint
from vislab.io.download import checksum, fetch, file_name
from vislab.io.hub import hub_rules
from vislab.io.packages import package_file
from vislab.io.weights import load_state
from vislab.zoo.catalogue import Entry, Weights
from vislab.zoo.foreign import load_foreign
from vislab.zoo.pins import check_pin, read_pins

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # older repositories have the second only
logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder of downloaded and converted weights: $VISLAB_CACHE, else ~/.cache/vislab."""
    return Path(os.environ.get("VISLAB_CACHE") or Path.home() / ".cache/vislab").expanduser()


def download(entry: Entry, folder: str | Path | None = None) -> Path:
    """Return the file of weights of an entry, downloaded at the first call.

    Without a checksum of the publisher, that of the first download is pinned in `pins.json` of the cache folder, and
    later downloads must have it.

    Args:
        entry: Entry of the catalogue.
        folder: Folder for the file, which is then named FOLDER/NAME/FILE, files of the hub too. Default:
            `cache_folder()`, and for files of the hub its own cache. config.json of the hub is next to it.

    Raises:
        ConfigError: The entry has no weights.
        DataError: The file cannot be downloaded, or is another one than at the first download.
    """
    weights = published_weights(entry)
    if not entry.weights:
        own = _own_file(entry)
        return own if folder is None else _copied(own, Path(folder) / entry.name)
    place = Path(folder or cache_folder()) / entry.name
    pins = cache_folder() / "pins.json"
    given = next((file for name in _names(weights) if (file := place / name).is_file()), None)  # see `use_file`
    if weights.package:
        file = given or package_file(weights.package, weights.file, sha256=weights.sha256)
        return file if folder is None or given else _copied(file, place)
    if weights.hub:
        file = given or _from_hub(entry, (weights.file,) if weights.file else _HUB_FILES)
        check_pin(_source(weights), file, pins)
        if given:
            return file
        labels = _labels(entry, file)  # needed with the weights, also without a network
        if folder is not None:
            _copied(labels, place)
        return file if folder is None else _copied(file, place)
    pinned = read_pins(pins).get(_source(weights), {}).get("sha256")
    errors = []
    for address in weights.url:
        try:
            file = fetch(
                address,
                place / _names(weights)[0],
                sha256=weights.sha256 or pinned,
                by_hand=f"pass it with `vislab download {entry.name} --from-file FILE`",
            )
        except DataError as error:
            errors.append(str(error))
            continue
        check_pin(_source(weights), file, pins, expected=weights.sha256)
        return file
    raise DataError("\n".join(errors))


def _copied(file: Path, folder: Path) -> Path:
    """Copy a file into a folder, and return its path there."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_atomically(file, folder / file.name)
    return folder / file.name


def use_file(entry: Entry, path: str | Path, folder: str | Path | None = None) -> Path:
    """Copy a file that was downloaded by other means to the place where `download` finds it; returns its path.

    A config.json next to a file of the hub, which has the class names, is copied too. A model without published weights
    takes those of `vislab publish`, whose names state the first digits of their SHA256.

    Args:
        entry: Entry of the catalogue.
        path: The file.
        folder: As in `download`.

    Raises:
        DataError: There is no such file, or its checksum is not that of the entry, of the first download or in its
            name.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"--from-file: there is no file {path}")
    if not entry.weights:
        return _use_own_file(entry, path, folder)
    weights = entry.weights[0]
    suffixes = {Path(name).suffix: name for name in _names(weights)}
    if path.suffix not in suffixes:
        raise DataError(f"{path} is not the file of {entry.name}: expected one of {', '.join(_names(weights))}")
    found = checksum(path)
    if weights.sha256 and found != weights.sha256:
        raise DataError(f"{path} is not the file of {entry.name}: its SHA256 is {found}, expected {weights.sha256}")
    if not weights.sha256:
        check_pin(_source(weights), path, cache_folder() / "pins.json")
    target = Path(folder or cache_folder()) / entry.name / suffixes[path.suffix]
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_atomically(path, target)
    if weights.hub and path.with_name("config.json").is_file():
        copy_atomically(path.with_name("config.json"), target.with_name("config.json"))
    return target


def published_weights(entry: Entry) -> Weights:
    """Return the first weights of an entry, or those given to `use_file`; raises ConfigError if there are none."""
    if entry.weights:
        return entry.weights[0]
    if not _own_file(entry).is_file():
        raise ConfigError(
            f"no weights of {entry.name} are published: pass a checkpoint, or once a file of `vislab publish`, with "
            f"`vislab download {entry.name} --from-file FILE`"
        )
    return Weights("", _own_file(entry).name, None, (), "", "vislab", "that of the file")


def _own_file(entry: Entry) -> Path:
    """Return the place of weights for an entry without published ones."""
    return cache_folder() / entry.name / f"{entry.name}.safetensors"


def _use_own_file(entry: Entry, path: Path, folder: str | Path | None) -> Path:
    if path.suffix != ".safetensors":
        raise DataError(f"{path}: expected a .safetensors file; `vislab publish` makes one from a checkpoint")
    digits = re.search(r"-([0-9a-f]{8})$", path.stem)
    if digits and not checksum(path).startswith(digits[1]):
        raise DataError(f"{path} is damaged: its SHA256 does not begin with {digits[1]}. Copy the file again")
    target = _own_file(entry) if folder is None else Path(folder) / entry.name / _own_file(entry).name
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_atomically(path, target)
    return target


def load_pretrained(model: nn.Module, entry: Entry) -> dict:
    """Load the weights of an entry into its model; returns the metainfo of its data, with `classes` if known.

    Raises:
        CheckpointError: A weight is missing, unknown or of another shape; see also `load_foreign`.
        ConfigError, DataError: As in `download`.
    """
    path, weights = download(entry), published_weights(entry)
    source = f"the package {weights.package}" if weights.package else weights.place
    logger.info("weights of %s: from %s (license: %s)", entry.name, source, weights.license)
    if weights.layout == "vislab":
        checkpoint = load_checkpoint(path)
        load_state(model, checkpoint, source=str(path))
        return (checkpoint.get("meta") or {}).get("dataset_meta") or {}
    report = load_foreign(model, path, weights.layout)
    if report.missing or report.unexpected or report.mismatched:
        raise CheckpointError(f"{path} does not fit {entry.name} exactly: {report}")
    if not weights.hub:
        return {}
    return hub_classes(model, _labels(entry, path))


def hub_classes(model: nn.Module, file: Path) -> dict:
    """Return {"classes": names} of the labels in a config.json of the hub; {} if it has none for all classes.

    Names that occur twice, such as "N/A" for the unused ids of COCO, get their index.

    Raises:
        DataError: The file is damaged.
    """
    try:
        labels = json.loads(file.read_text(encoding="utf-8")).get("id2label") or {}
        names = [str(labels[key]) for key in sorted(labels, key=int)]
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}. Download it again") from error
    if len(names) != getattr(model, "num_classes", None):
        return {}
    counts = Counter(names)
    return {"classes": tuple(name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names))}


def _names(weights: Weights) -> tuple[str, ...]:
    """Return the possible names of the file, without folders."""
    if weights.hub:
        return (PurePosixPath(weights.file).name,) if weights.file else _HUB_FILES
    if weights.package:
        return (PurePosixPath(weights.file).name,)
    return (file_name(weights.url[0]),)


def _labels(entry: Entry, file: Path) -> Path:
    """Return config.json of the hub, with the class names of the weights in `file`."""
    beside = file.with_name("config.json")
    return beside if beside.is_file() else _from_hub(entry, ("config.json",))


def _source(weights: Weights) -> str:
    return f"{weights.hub}/{weights.file}".rstrip("/") if weights.hub else weights.url[0]


def _from_hub(entry: Entry, files: Sequence[str]) -> Path:
    """Return the first of `files` that the repository of an entry has."""
    weights, failure, why = entry.weights[0], None, ""
    remedy = (
        f"Download it where there is a network (hf download {weights.hub} --local-dir D), and pass it with its "
        f"config.json: `vislab download {entry.name} --from-file D/{weights.file or _HUB_FILES[0]}`"
    )
    for file in files:
        try:
            with hub_rules():
                return Path(hf_hub_download(weights.hub, file, revision=weights.revision))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            failure: Exception = error
            why = f"{' or '.join(files)} is not in the cache, and the hub cannot be reached. {remedy}"
        except EntryNotFoundError as error:
            failure, why = error, f"{file} cannot be downloaded: {_first_line(error)}"
        except Exception as error:  # of the HTTP library, which is another one in other versions of the hub's
            why = f"{file} cannot be downloaded: {type(error).__name__}: {_first_line(error)}. {remedy}"
            raise DataError(f"{weights.hub}: {why}") from error
    raise DataError(f"{weights.hub}: {why}") from failure


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
