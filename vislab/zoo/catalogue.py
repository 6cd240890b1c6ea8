"""The catalogue: models with their configs, results and published weights, from configs/*/metafile.yml."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vislab import configs
from vislab.errors import ConfigError, DataError, did_you_mean
from vislab.io.download import inner_path, is_address

_KEYS = {"Name", "In Collection", "Config", "Results", "Weights", "Options"}
_WEIGHTS = {"Hub", "Package", "File", "Revision", "URL", "SHA256", "Size", "License", "Layout"}
_RESULT = {"Task", "Dataset", "Metrics", "Source"}
SOURCES = ("published", "here", "not run")


@dataclass(frozen=True)
class Weights:
    """A file of weights that others or this project publish.

    Attributes:
        hub: Repository on the hub, or "".
        file: File in it. "": model.safetensors, else pytorch_model.bin. In a package, the path.
        revision: Commit of the repository.
        url: Addresses of a plain file, tried in order; empty for files on the hub.
        sha256: Checksum of a plain file or a file in a package; "" if its publisher states none.
        layout: Names of the weights, as in `load_foreign`; "vislab" for our own.
        license: License as stated by the publisher.
        package: Name of the installed package that carries the file, or "".
    """

    hub: str
    file: str
    revision: str | None
    url: tuple[str, ...]
    sha256: str
    layout: str
    license: str
    package: str = ""

    @property
    def place(self) -> str:
        """Source of the file for readers: a repository of the hub, a package, an address, or the name of the file."""
        return self.hub or (f"pip install {self.package}" if self.package else (*self.url, self.file)[0])

    def link(self) -> str:
        """Return the source for a page: the repository, the package, or a link to the file."""
        linked = self.url and not self.hub
        return f"[{self.url[0].rpartition('/')[2]}]({self.url[0]})" if linked else f"`{self.place}`"


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: Name, which is that of its config.
        collection: Name of the method.
        config: Path of the config.
        results: Dicts of Task, Dataset, Metrics and Source: "published", "here", or "not run" without metrics.
        weights: Files of weights, the first of which is used.
        options: Changes of the config that the weights need, by dotted key.
    """

    name: str
    collection: str
    config: Path
    results: tuple[Mapping[str, Any], ...]
    weights: tuple[Weights, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def figures(self) -> str:
        """Return the metrics of the first result as text; "not run" if there are none."""
        metrics = self.results[0]["Metrics"] if self.results else {}
        return ", ".join(f"{value} {key}" for key, value in metrics.items()) or "not run"


@cache
def read_catalogue() -> dict[str, Entry]:
    """Return all entries by name.

    Raises:
        ConfigError: A metafile is invalid.
    """
    found: dict[str, Entry] = {}
    for root in configs.__path__:
        for path in sorted(Path(root).glob("*/metafile.yml")):
            for entry in read_metafile(path):
                if entry.name in found:
                    raise ConfigError(f"{path}: {entry.name} is listed twice")
                found[entry.name] = entry
    return found


def list_models(pattern: str = "*", *, weights: bool = True) -> list[str]:
    """Return the names of the catalogue that match `pattern`, such as "mask2former_swin_*".

    Args:
        pattern: With the wildcards * and ?.
        weights: Only models with published weights.
    """
    entries = read_catalogue().values()
    return [entry.name for entry in entries if fnmatch(entry.name, pattern) and (entry.weights or not weights)]


def find_entry(name: str) -> Entry:
    """Return the entry of a name.

    Raises:
        ConfigError: There is none, with the nearest name.
    """
    entries = read_catalogue()
    if name not in entries:
        raise ConfigError(
            f"the catalogue has no model {name!r}{did_you_mean(name, entries, '.')} `vislab download --list` lists "
            "those with published weights; for other configs, pass weights"
        )
    return entries[name]


def read_metafile(path: Path) -> list[Entry]:
    """Return the entries of a metafile after checking them.

    Raises:
        ConfigError: An entry lacks a key or has an unknown one, its config does not exist or has another name, or files
            that this project publishes (layout vislab) lack checksum, size or license.
    """
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    collections = {entry["Name"] for entry in content["Collections"]}
    entries = []
    for model in content["Models"]:
        name = model.get("Name", "?")
        unknown = sorted(model.keys() - _KEYS)
        if unknown:
            raise ConfigError(f"{path}: {name} has the unknown key {unknown[0]!r}{did_you_mean(unknown[0], _KEYS)}")
        if model.get("In Collection") not in collections:
            raise ConfigError(f"{path}: {name} is in the unknown collection {model.get('In Collection')!r}")
        config = path.with_name(Path(model.get("Config", "?")).name)
        if not config.is_file() or config.stem != name:
            raise ConfigError(f"{path}: {name} has the config {config.name}; expected {name}.py next to the metafile")
        weights = tuple(_weights(found, f"{path}: {name}") for found in model.get("Weights", ()))
        results, options = tuple(model.get("Results") or ()), dict(model.get("Options", {}))
        _check_results(results, f"{path}: {name}")
        entries.append(Entry(name, model["In Collection"], config, results, weights, options))
    return entries


def _check_results(results: Sequence[Mapping[str, Any]], where: str) -> None:
    if not results:
        raise ConfigError(f"{where} has no Results; a model without figures has Metrics: {{}}, Source: not run")
    for result in results:
        if result.keys() != _RESULT or result["Source"] not in SOURCES:
            raise ConfigError(f"{where}: a result has {', '.join(sorted(_RESULT))}, and a Source of {SOURCES}")
        if bool(result["Metrics"]) == (result["Source"] == "not run"):
            raise ConfigError(f"{where}: results have Metrics, and those that are not run have none")


def _weights(found: Mapping[str, Any], where: str) -> Weights:
    unknown = sorted(found.keys() - _WEIGHTS)
    if unknown:
        raise ConfigError(
            f"{where} has weights with the unknown key {unknown[0]!r}{did_you_mean(unknown[0], _WEIGHTS)}"
        )
    url = found.get("URL", ())
    url = (url,) if isinstance(url, str) else tuple(url)
    places = [place for place in (found.get("Hub"), found.get("Package"), url) if place]
    if len(places) != 1 or "License" not in found or "Layout" not in found:
        raise ConfigError(f"{where}: weights need License, Layout, and one of Hub, Package and URL")
    for address in url:
        if not is_address(address):
            raise ConfigError(f"{where}: {address} is no http(s) address of a file")
    if found.get("File"):
        try:
            inner_path(found["File"], where)
        except DataError as error:
            raise ConfigError(str(error)) from error
    digits = str(found.get("SHA256") or "")
    if digits and not re.fullmatch("[0-9a-f]{64}", digits):
        raise ConfigError(f"{where}: SHA256 {digits!r} must be 64 hexadecimal digits in lower case")
    if found["Layout"] == "vislab" and not (found.get("SHA256") and found.get("Size")):
        raise ConfigError(f"{where}: weights of this project need SHA256 and Size")
    return Weights(
        hub=found.get("Hub", ""),
        file=found.get("File", ""),
        revision=found.get("Revision"),
        url=url,
        sha256=digits,
        layout=found["Layout"],
        license=found["License"],
        package=found.get("Package", ""),
    )


def catalogue_page() -> str:
    """Return docs/model_zoo.md."""
    lines = [
        "# Model zoo",
        "",
        "All configs with their results, and published weights that the models can load: all of the weights must fit,",
        "or loading is refused. Where weights are listed, the name is enough to predict, to test and to train:",
        "",
        "    vislab predict mask2former_swin_t_coco_panoptic photo.jpg --out results",
        "    vislab test mask2former_swin_t_coco_panoptic",
        "    vislab train eco_m2f_swin_t_coco_panoptic --load-from mask2former_swin_t_coco_panoptic",
        "    vislab download --list",
        "",
        'Results are those of the publishers unless marked "here"; they were not reproduced. Results of this project',
        "are explained in [benchmarks/RESULTS.md](../benchmarks/RESULTS.md) and in the pages of the systems. Configs",
        "that were not run as they are may be part of a shorter comparison, as those of",
        "[combinations](combinations.md).",
        "",
        "Files of the Hugging Face hub are kept in its cache, with its tokens and its offline mode",
        "(`HF_HUB_OFFLINE=1`), others in the folder `VISLAB_CACHE`; `VISLAB_OFFLINE=1` forbids all downloads. Where",
        "the publisher states no checksum, that of the first download is noted in `VISLAB_CACHE/pins.json`, and a",
        "later download of another file is refused. `vislab download NAME --from-file FILE` takes a file that was",
        "downloaded by other means. `vislab convert` converts weights that are not listed. Licenses are those that the",
        "publishers of the weights state.",
        "",
        'Weights of the models that this project trained ("here") cannot be downloaded: train the config. `vislab',
        "publish CKPT --config NAME --out D` then writes weights and class names to a file whose name ends with the",
        "first digits of its SHA-256. After `vislab download NAME --from-file FILE`, the name is enough for this",
        "model, too.",
    ]
    collection = None
    for entry in sorted(read_catalogue().values(), key=lambda entry: entry.collection.lower()):
        if entry.collection != collection:
            collection = entry.collection
            lines += ["", f"## {collection}", "", "| name | data | results | weights (license) |", "|---|---|---|---|"]
        result = entry.results[0]
        figures = entry.figures() + (" (here)" if result["Source"] == "here" else "")
        files = ", ".join(f"{weights.link()} ({weights.license})" for weights in entry.weights)
        lines.append(f"| {entry.name} | {result['Dataset']} | {figures} | {files} |")
    lines += ["", "Made from `configs/*/metafile.yml` by `vislab.zoo.catalogue_page()`.", ""]
    return "\n".join(lines)
