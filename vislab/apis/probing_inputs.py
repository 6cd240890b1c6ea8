"""Inputs of a probe: the encoder of a config or of timm with its normalization, and two labeled sets of images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from vislab.apis.build import build_model, load
from vislab.engine.config.source import is_name, shipped_configs
from vislab.errors import ConfigError, DataError
from vislab.io.archives import list_members, split_archive
from vislab.io.paths import expand, expand_path
from vislab.models.encoders.timm_encoder import ANY_SIZE
from vislab.models.encoders.timm_models import create_model, exported_facts, load_weights
from vislab.models.encoders.tokens import RawPixels, encoder_preprocessor, find_encoder, grid_side
from vislab.models.preprocessor import ImagePreprocessor
from vislab.registry import DATASETS

PIXELS = "pixels"  # the name of the baseline without an encoder


class ProbeEncoder(NamedTuple):
    """An encoder with its data preprocessor; `side` of its images if it is known, and texts for the protocol."""

    encoder: nn.Module
    preprocessor: nn.Module
    side: int | None
    name: str
    weights: str


class ProbeData(NamedTuple):
    """Training and test set, the settings that determine their pixels, and a text for the protocol."""

    train: Any
    test: Any
    settings: dict[str, Any]
    text: str


def load_encoder(
    source: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    part: str | None = None,
    random: bool = False,
    seed: int = 0,
    cfg_options: Mapping[str, Any] | None = None,
) -> ProbeEncoder:
    """Return the encoder of a config, a timm model, or the raw pixels.

    Args:
        source: A config or its path, a timm model name, or "pixels".
        checkpoint: A checkpoint of the config, or a file with timm's names. Default: the initial weights of the config,
            or timm's own weights.
        part: Name of the encoder in the model; see `find_encoder`.
        random: Random weights of a timm model.
        seed: Seed of initial weights.
        cfg_options: Changes of the config by dotted key.

    Raises:
        ConfigError: No such config or model, a model without encoder, or options that do not fit together.
        CheckpointError: The weights cannot be read or do not match.
    """
    if random and checkpoint is not None:
        raise ConfigError("random weights and a checkpoint: choose one of them")
    if source == PIXELS:
        if checkpoint is not None or part is not None:
            raise ConfigError("encoder 'pixels' is the image itself: it has neither weights nor parts")
        return ProbeEncoder(RawPixels(), ImagePreprocessor(), None, "raw pixels", "none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if _is_config(source) or os.path.isfile(expand(source)):
            return _from_config(source, checkpoint, part, random, seed, cfg_options)
        if cfg_options:
            raise ConfigError(f"cfg_options apply to a config, {source!r} is a timm model")
        return _from_timm(str(source), checkpoint, part, random, seed)


def _is_config(source: str | Path | Config) -> bool:
    """Return whether `source` is a config, the path of one, or the name of a shipped one."""
    shipped = is_name(source) and Path(source).name in shipped_configs()
    return isinstance(source, Config) or str(source).endswith(".py") or shipped


def _from_config(
    source: str | Path | Config, checkpoint: Any, part: str | None, random: bool, seed: int, cfg_options: Any
) -> ProbeEncoder:
    if random:
        raise ConfigError("random=True is for timm models; a config without checkpoint has its initial weights")
    cfg = load(source, cfg_options)
    model = build_model(cfg, checkpoint, "cpu")
    place, encoder = find_encoder(model, part)
    weights = str(checkpoint) if checkpoint is not None else f"initial weights of the config, seed {seed}"
    name = f"{place or 'model'} of {cfg.filename or 'the config'}"
    return ProbeEncoder(
        encoder, encoder_preprocessor(model.data_preprocessor, encoder, name), grid_side(encoder), name, weights
    )


def _from_timm(name: str, checkpoint: Any, part: str | None, random: bool, seed: int) -> ProbeEncoder:
    own = checkpoint is None and not random
    network = create_model(name, {"num_classes": 0}, owner="probe", download=own, alternatives=ANY_SIZE)
    missing = load_weights(network, str(checkpoint)) if checkpoint is not None else []
    if missing:
        raise ConfigError(
            f"{checkpoint} does not fit timm model {name!r}: {len(missing)} parameters are not in it, e.g. "
            f"{', '.join(missing[:3])}"
        )
    stats = network.pretrained_cfg | (exported_facts(str(checkpoint)) if checkpoint is not None else {})
    weights = str(checkpoint) if checkpoint is not None else f"random, seed {seed}" if random else "of timm"
    place, encoder = find_encoder(network, part)
    preprocessor = ImagePreprocessor(mean=stats["mean"], std=stats["std"])
    side = grid_side(network) or int(stats["input_size"][-1])
    return ProbeEncoder(encoder, preprocessor, side, f"timm {name}{f' {place}' if place else ''}", weights)


def load_data(
    data: str | Path | Config,
    side: int | None,
    *,
    size: int | None = None,
    crop: float = 1.0,
    splits: Sequence[str] | None = None,
    train: int | None = None,
    test: int | None = None,
) -> ProbeData:
    """Return two labeled sets whose images are not augmented.

    Args:
        data: Folder or .zip file with class folders in `train` and `val` or `test`, at the top or one folder below; or
            a config, whose training and validation sets are used with the pipeline of the latter.
        side: Size of the images of the encoder, used for folders unless `size` is set.
        size: Resize the short side to size / crop, and crop the center to size x size.
        crop: Part of the short side that is kept, in (0, 1].
        splits: Names of the two folders. Default: see `data`.
        train, test: Number of images, evenly spaced over the sorted list. Default: all.

    Raises:
        ConfigError: The size is unknown, the folders are not found, or options do not fit together.
        DataError: The sets have different classes, or there is no such folder.
    """
    init_default_scope("vislab")
    if not 0 < crop <= 1:
        raise ConfigError(f"crop={crop} is not in (0, 1]")
    if size is not None and size < 1:
        raise ConfigError(f"size={size} is no size of images: expected pixels")
    config = _is_config(data)
    if config and size is None:
        sets, settings = _sets_of_config(data, splits, None)
        text = f"pipeline of {_name(data)}"
    else:
        size = size or side
        if size is None:
            raise ConfigError("the encoder takes images of any size: set the size of the images (size=N, --size N)")
        pipeline = _pipeline(size, crop)
        if config:
            sets, _ = _sets_of_config(data, splits, pipeline)
        else:
            sets = _sets_of_folder(str(data), splits, pipeline)
        settings = {"size": size, "crop": crop, "pipeline": str(pipeline)}
        text = f"short side {round(size / crop)}, center crop {size}"
    train_set, test_set = (
        _choose(one, count, which) for one, count, which in zip(sets, (train, test), ("train", "test"), strict=True)
    )
    classes = [one.metainfo.get("classes") for one in (train_set, test_set)]
    if classes[0] != classes[1]:
        raise DataError(f"the two sets of {_name(data)} have different classes: {classes[0]} and {classes[1]}")
    counts = f"{len(train_set)} training and {len(test_set)} test images, {len(classes[0] or ())} classes"
    return ProbeData(train_set, test_set, settings, f"{_name(data)}: {counts}; {text}")


def _pipeline(size: int, crop: float) -> list[dict]:
    resize = {"type": "ResizeShortestEdge", "short_edge_length": round(size / crop)}
    return [{"type": "LoadImage"}, resize, {"type": "CenterCrop", "size": size}, {"type": "PackInputs"}]


def _sets_of_config(data: Any, splits: Any, pipeline: list | None) -> tuple[list, dict]:
    if splits is not None:
        raise ConfigError("splits are folders of a path; the sets of a config are those of its data loaders")
    cfg = load(data)
    missing = [name for name in ("train_dataloader", "val_dataloader") if not cfg.get(name)]
    if missing:
        raise ConfigError(f"{_name(data)} has no {' and no '.join(missing)}: a probe needs both sets")
    steps = pipeline or cfg.val_dataloader.dataset.pipeline
    sets = [DATASETS.build({**cfg[f"{name}_dataloader"].dataset, "pipeline": steps}) for name in ("train", "val")]
    return sets, {"pipeline": str(steps)}


def _sets_of_folder(data: str, splits: Sequence[str] | None, pipeline: list) -> list:
    root = expand_path(data, "data")
    if splits is None:
        splits = _find_splits(root)
    elif len(splits) != 2:
        raise ConfigError(f"splits={list(splits)}: expected two folders, of the training and of the test images")
    elif os.path.realpath(os.path.join(root, splits[0])) == os.path.realpath(os.path.join(root, splits[1])):
        raise ConfigError(f"splits={list(splits)}: the test images would be those of the training")
    return [
        DATASETS.build({"type": "ImageFolder", "data_root": root, "split": s, "pipeline": pipeline}) for s in splits
    ]


def _find_splits(root: str) -> tuple[str, str]:
    """Return the folders train and val or test, at the top of a folder or archive or one folder below."""
    if split_archive(root) is not None:
        parts = [name.split("/")[:-1] for name in list_members(*split_archive(root))]
        folders = {"/".join(p[:depth]) for p in parts for depth in (1, 2) if len(p) >= depth}
    else:
        if not os.path.isdir(root):
            raise DataError(f"data={root!r} is neither a folder nor a .zip file nor a config (.py)")
        top = [entry.name for entry in os.scandir(root) if entry.is_dir()]
        below = [f"{name}/{e.name}" for name in top for e in os.scandir(os.path.join(root, name)) if e.is_dir()]
        folders = {*top, *below}
    found = []
    for base in ("", *sorted({name.split("/")[0] + "/" for name in folders})):
        others = [f"{base}{name}" for name in ("val", "test") if f"{base}{name}" in folders]
        if f"{base}train" in folders and others:
            found.append((f"{base}train", others[0]))
    if len(found) != 1:
        state = f"several: {found}" if found else f"none; there are {', '.join(sorted(folders)[:8]) or 'no folders'}"
        raise ConfigError(
            f"data={root!r}: expected one pair of folders train and val (or test) with class folders, found {state}. "
            "Set splits=(TRAIN, TEST) (--splits TRAIN TEST)"
        )
    return found[0]


def _choose(dataset: Any, count: int | None, which: str) -> Any:
    total = len(dataset)
    if count is None or count == total:
        return dataset
    if not 1 <= count <= total:
        raise ConfigError(f"{which}={count}: the set has {total} images")
    return dataset.get_subset([i * total // count for i in range(count)])


def _name(data: Any) -> str:
    return str(data.filename or "the config") if isinstance(data, Config) else str(data)
