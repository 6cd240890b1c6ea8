"""Convert weights of other projects to files of this project, and make files of weights to publish."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn

from vislab.apis.build import load
from vislab.apis.models import create_model
from vislab.errors import CheckpointError, ConfigError
from vislab.io.atomic import write_text_atomically
from vislab.io.checkpoint import load_checkpoint, save_weights
from vislab.io.download import checksum
from vislab.io.paths import refuse_source, usable_folder
from vislab.io.weights import load_state
from vislab.zoo.catalogue import read_catalogue
from vislab.zoo.foreign import ForeignReport, load_foreign
from vislab.zoo.pretrained import hub_classes

_META = ("classes", "palette", "thing_classes", "stuff_classes", "category_ids")
"""Entries of the metainfo of data that are published."""


def convert(
    source: str | Path,
    out: str | Path,
    config: str | Path,
    *,
    layout: str = "auto",
    part: str = "",
    partial: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
) -> ForeignReport:
    """Write weights of another project with the names of this one to a .safetensors file.

    Class names are taken from config.json in the folder of the source, if it has one.

    Args:
        source: A file, or a folder with model.safetensors or pytorch_model.bin.
        out: The file to write; an existing one is replaced when all fits.
        config: Config of the model, or name of a shipped config.
        layout: As in `load_foreign`.
        part: Convert only this part of the model, such as "encoder".
        partial: Write the weights that fit although others are missing, unknown or of another shape.
        cfg_options: Changes of the config by dotted key.

    Raises:
        ConfigError: `out` is no .safetensors file or is the source, or as in `load_foreign`.
        CheckpointError: A weight is missing, unknown or of another shape, unless `partial`; or as in `load_foreign`.
    """
    source, out = Path(source), Path(out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out}: name it *.safetensors")
    if source.is_dir():
        source = next((file for name in _FILES if (file := source / name).is_file()), source)
    refuse_source(out, source)
    model = create_model(str(config), device="cpu", cfg_options=cfg_options)
    report = load_foreign(model, source, layout, part=part)
    complete = not (report.missing or report.unexpected or report.mismatched)
    if not complete and not partial:
        raise CheckpointError(
            f"{source} does not fit {config} exactly, and nothing was written: {_details(report)}. Change the config "
            "(--cfg-options), or write what fits with --partial"
        )
    state = model.state_dict()
    weights = state if complete and not part else {name: state[name] for name in sorted(report.loaded)}
    save_weights(weights, out, _classes_beside(model, source))
    return report


def publish(
    checkpoint: str | Path,
    config: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    license: str = "Apache-2.0",
    url: str = "",
    cfg_options: Mapping[str, Any] | None = None,
) -> tuple[Path, str]:
    """Write the weights of a checkpoint to OUT/NAME-SHA256[:8].safetensors, and their entry of a metafile to NAME.yml.

    The file holds the weights of the model and the class names; optimizer, logs and the config of the run are left out.
    Equal weights give equal files.

    Args:
        checkpoint: Checkpoint of this project, which must fit the config exactly.
        config: Config of the model, or name of a shipped config.
        out: Folder for the files.
        name: Name of the model. Default: that of the config.
        license: License of the weights.
        url: Address of the folder that will hold the file.
        cfg_options: Changes of the config by dotted key.

    Returns:
        The file, and the text of the entry.

    Raises:
        ConfigError: The name, the address or the folder cannot be used.
        CheckpointError: The checkpoint does not fit, or has weights that are not finite.
    """
    if name is not None and not re.fullmatch(r"[\w.-]+", name, flags=re.ASCII):
        raise ConfigError(f"name={name!r} becomes a part of a file name and an address: use letters, digits, _ . and -")
    if url and not url.startswith(("https://", "http://")):
        raise ConfigError(f"url={url!r} is no address: expected https://HOST/FOLDER, or leave it away")
    content = load_checkpoint(checkpoint)
    model = create_model(str(config), device="cpu", cfg_options=cfg_options)
    load_state(model, content, source=str(checkpoint))
    weights = model.state_dict()
    _require_finite(weights, checkpoint)
    meta = (content.get("meta") or {}).get("dataset_meta") or {}
    kept = {key: meta[key] for key in _META if key in meta}
    path = Path(load(config, dict(cfg_options or {})).filename)
    name, folder = name or path.stem, Path(usable_folder(out, "out"))
    unnamed = folder / f".{name}.unnamed.safetensors"  # hidden: NAME.safetensors may be the checkpoint
    save_weights(weights, unnamed, {"dataset_meta": kept} if kept else {})
    digest = checksum(unnamed)
    target = unnamed.replace(folder / f"{name}-{digest[:8]}.safetensors")
    known = read_catalogue().get(name)
    address = f"{url.rstrip('/')}/{target.name}" if url else target.name
    facts = {"URL": address, "SHA256": digest, "Size": target.stat().st_size, "License": license, "Layout": "vislab"}
    entry = {
        "Name": name,
        "In Collection": known.collection if known else path.parent.name,
        "Config": f"configs/{path.parent.name}/{path.name}",
        "Results": [dict(result) for result in known.results] if known else [],
        "Weights": [facts],
    }
    metrics = _metrics_of(Path(checkpoint))
    if metrics:
        first = entry["Results"][0] if entry["Results"] else {"Task": "?", "Dataset": "?"}
        entry["Results"].append({**first, "Metrics": metrics, "Source": "here"})
    text = yaml.safe_dump([entry], sort_keys=False, width=120)
    write_text_atomically(text, folder / f"{name}.yml")
    return target, text


_FILES = ("model.safetensors", "pytorch_model.bin")


def _details(report: ForeignReport) -> str:
    lines = [f"{len(report.loaded)} weights fit"]
    for what in ("missing", "unexpected"):
        names = getattr(report, what)
        lines += [f"{len(names)} are {what}: {', '.join(names[:3])}"] if names else []
    for name, (theirs, ours) in list(report.mismatched.items())[:3]:
        lines.append(f"{name} is {theirs} there and {ours} in the model")
    return "; ".join(lines)


def _classes_beside(model: nn.Module, source: Path) -> dict[str, Any]:
    """Return {"dataset_meta": ...} with the class names of config.json in the folder of the source; {} without."""
    labels = source.with_name("config.json")
    found = hub_classes(model, labels) if labels.is_file() else {}
    return {"dataset_meta": found} if found else {}


def _require_finite(weights: Mapping[str, Tensor], checkpoint: str | Path) -> None:
    broken = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{checkpoint} is not published: {len(broken)} of its weights contain NaN or infinity, e.g. {broken[0]}. "
            "Use an earlier checkpoint"
        )


def _metrics_of(checkpoint: Path) -> dict[str, float]:
    """Return the numbers that metrics.json in the folder of a checkpoint states for it."""
    try:
        report = json.loads(checkpoint.with_name("metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    tests = [entry for entry in report.get("tests", ()) if _is_of(entry, checkpoint)]
    found = tests[-1] if tests else report if _is_of(report, checkpoint) else {}
    return {key: round(value, 4) for key, value in found.get("metrics", {}).items() if isinstance(value, (int, float))}


def _is_of(report: Mapping[str, Any], checkpoint: Path) -> bool:
    return Path(report.get("checkpoint") or "").name == checkpoint.name
