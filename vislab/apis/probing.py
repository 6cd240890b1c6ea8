"""Probe an encoder: accuracy of simple classifiers on its frozen features, with the protocol beside the figures."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from mmengine.config import Config
from mmengine.device import get_device

from vislab.apis.probing_inputs import ProbeData, ProbeEncoder, load_data, load_encoder
from vislab.engine.device import usable_device
from vislab.engine.features import Extractor, Features, cached_features, check_features
from vislab.engine.head_training import RATES, probe_head
from vislab.engine.report import write_metrics
from vislab.errors import ConfigError, check_choice
from vislab.evaluation.knn import knn_accuracy
from vislab.evaluation.linear_probe import CS, HELD_OUT, linear_probe
from vislab.io.paths import usable_folder
from vislab.models.encoder_classifier import ProbeHead, build_pool

Kind = Literal["knn", "linear", "attentive", "efficient"]
KS = (10, 20, 100, 200)
Progress = Callable[[str, int, int], None]


def probe(
    encoder: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    data: str | Path | Config,
    kind: Kind | Sequence[Kind] = ("knn", "linear"),
    feature: Literal["all", "class", "mean"] = "all",
    layer: int | None = None,
    part: str | None = None,
    random: bool = False,
    size: int | None = None,
    crop: float = 1.0,
    splits: Sequence[str] | None = None,
    train: int | None = None,
    test: int | None = None,
    seeds: Sequence[int] = (0,),
    epochs: int = 15,
    batch_size: int = 256,
    num_workers: int = 0,
    device: str | None = None,
    work_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate an encoder and return accuracies in percent, which are also added to WORK_DIR/metrics.json.

    The encoder is in eval mode, and features are computed once, of images that are not augmented. Settings are selected
    on held-out training images. The key "protocol" of the result describes all steps.

    Args:
        encoder: Config or its path, timm model name, or "pixels"; see `load_encoder`.
        checkpoint: Weights. Default: the initial weights of the config, or timm's own weights.
        data: Folder, .zip file, or config; see `load_data`.
        kind: One or several of "knn" (weighted k-NN), "linear" (logistic regression), "attentive" and "efficient"
            (attention pooling and a linear classifier).
        feature: Vectors for "knn" and "linear": "class" token, "mean" of the patch tokens, or "all" that exist.
        layer, part, random: See `encode_tokens`, `find_encoder` and `load_encoder`.
        size, crop, splits, train, test: See `load_data`.
        seeds: Seeds of held-out images, heads, and their order of images; several give mean and standard deviation.
            The first one is the seed of random weights.
        epochs: Of the training of "attentive" and "efficient".
        batch_size, num_workers: Of the extraction of features.
        device: Device of the encoder. Default: a GPU if available.
        work_dir: Folder of metrics.json. Default: work_dirs/<name of the config or model>.
        cache_dir: Folder of cached features. Default: WORK_DIR/features.
        cfg_options: Changes of the config by dotted key.
        progress: Called with the name of the set, the number of images done and of all images.

    Raises:
        ConfigError, DataError, CheckpointError: See vislab.errors.
    """
    began = time.perf_counter()
    kinds = _check_kinds(kind)
    if not seeds or min(seeds) < 0 or epochs < 1 or batch_size < 1 or num_workers < 0:
        raise ConfigError(
            f"seeds={list(seeds)}, epochs={epochs}, batch_size={batch_size}, num_workers={num_workers}: at least one "
            "of each, and no negative seed or number of workers"
        )
    target = usable_device(device or get_device())
    source = load_encoder(
        encoder, checkpoint, part=part, random=random, seed=seeds[0], cfg_options=cfg_options
    )  # fmt: skip
    sets = load_data(data, source.side, size=size, crop=crop, splits=splits, train=train, test=test)
    name = Path(str(encoder.filename or "notebook") if isinstance(encoder, Config) else str(encoder)).stem
    folder = Path(usable_folder(work_dir or Path("work_dirs", name)))
    cache = Path(usable_folder(cache_dir, "cache_dir") if cache_dir else folder / "features")
    source.encoder.to(target), source.preprocessor.to(target)
    tokens = any(k in ("attentive", "efficient") for k in kinds)
    extractor = Extractor(source.encoder, source.preprocessor, layer=layer, tokens=tokens)
    features, known = [], []
    for which, dataset in (("training images", sets.train), ("test images", sets.test)):
        report = None if progress is None else partial(progress, which)
        found, cached = cached_features(
            cache, extractor, dataset, {**sets.settings, "device": target.type},
            batch_size=batch_size, num_workers=num_workers, progress=report,
        )  # fmt: skip
        features.append(found)
        known.append(cached)
    names = _feature_names(feature, features[0])
    metrics, notes = evaluate_features(*features, kinds=kinds, names=names, seeds=seeds, epochs=epochs)
    protocol = "\n".join([*_describe(source, sets, layer, features[0], all(known)), *notes])
    metrics = {f"probe/{key}": value for key, value in metrics.items()}
    metrics["protocol"] = protocol
    write_metrics(
        folder / "metrics.json",
        metrics,
        config=str(encoder.filename if isinstance(encoder, Config) else encoder),
        checkpoint=None if checkpoint is None else str(checkpoint),
        seconds=time.perf_counter() - began,
        test=True,
    )
    return metrics


def evaluate_features(
    train: Features,
    test: Features,
    *,
    kinds: Sequence[Kind],
    names: Sequence[str],
    seeds: Sequence[int] = (0,),
    epochs: int = 15,
) -> tuple[dict[str, float], list[str]]:
    """Return the accuracies of probes by name, and a line about the protocol of each kind.

    Raises:
        DataError: The features cannot be classified; see `check_features`.
    """
    check_features(train, test)
    metrics: dict[str, float] = {}
    notes = []
    for kind in kinds:
        if kind == "knn":
            for name in names:
                metrics.update(_knn(train, test, name))
            notes.append("knn: cosine similarity, votes exp(s / 0.07), no setting selected, deterministic")
        elif kind == "linear":
            notes.append(_linear(train, test, names, seeds, metrics))
        else:
            notes.append(_head(train, test, kind, seeds, epochs, metrics))
    return metrics, notes


def _knn(train: Features, test: Features, name: str) -> dict[str, float]:
    bank, queries = (torch.from_numpy(np_features) for np_features in (train.arrays[name], test.arrays[name]))
    labels = torch.from_numpy(train.labels), torch.from_numpy(test.labels)
    found = knn_accuracy(bank, labels[0], queries, labels[1], ks=KS)
    return {f"knn_{name}_k{k}": value for k, value in found.items()}


def _linear(
    train: Features, test: Features, names: Sequence[str], seeds: Sequence[int], metrics: dict[str, float]
) -> str:
    remarks = []
    for name in names:
        results = [
            linear_probe(train.arrays[name], train.labels, test.arrays[name], test.labels, seed=seed) for seed in seeds
        ]
        _add(metrics, f"linear_{name}", [result.accuracy for result in results])
        chosen = ", ".join(f"{result.C:g}" for result in results)
        edge = " (at the edge of the sweep)" if any(result.at_edge() for result in results) else ""
        short = "" if all(result.converged for result in results) else " (stopped before convergence)"
        remarks.append(f"{name} C = {chosen}{edge}{short}")
    grid = ", ".join(f"{C:g}" for C in CS)
    return (
        f"linear: standardized features, multinomial logistic regression (L-BFGS), C of {grid} selected on "
        f"{HELD_OUT:.0%} of the training images, then fitted to all; {'; '.join(remarks)}; seeds {_list(seeds)}"
    )


def _head(
    train: Features, test: Features, kind: str, seeds: Sequence[int], epochs: int, metrics: dict[str, float]
) -> str:
    dim, classes = train.arrays["tokens"].shape[2], int(max(train.labels.max(), test.labels.max())) + 1
    make = lambda: ProbeHead(dim=dim, num_classes=classes, pool=build_pool(kind, dim))
    arrays = train.arrays["tokens"], train.labels, test.arrays["tokens"], test.labels
    results = [probe_head(make, *arrays, epochs=epochs, seed=seed) for seed in seeds]
    _add(metrics, kind, [result.accuracy for result in results])
    chosen = ", ".join(f"{result.lr:g}" for result in results)
    edge = " (at the edge of the sweep)" if any(result.at_edge() for result in results) else ""
    pool = build_pool(kind, dim)
    parts = f"1 query, {pool.num_heads} heads" if kind == "attentive" else f"{pool.num_queries} queries"
    return (
        f"{kind}: all {train.arrays['tokens'].shape[1]} tokens, {parts}, batch norm, linear; AdamW, {epochs} epochs of "
        f"batch 256 without augmentation, lr of {', '.join(f'{r:g}' for r in RATES)} selected on {HELD_OUT:.0%} of the "
        f"training images in {-(-epochs // 3)} epochs: {chosen}{edge}; seeds {_list(seeds)}"
    )


def _add(metrics: dict[str, float], name: str, values: list[float]) -> None:
    metrics[name] = statistics.mean(values)
    if len(values) > 1:
        metrics[f"{name}_std"] = statistics.stdev(values)


def _describe(source: ProbeEncoder, sets: ProbeData, layer: int | None, features: Features, cached: bool) -> list[str]:
    place = "final output" if layer is None else f"layer {layer}, without final norm"
    widths = ", ".join(f"{name} {values.shape[1:]}" for name, values in features.arrays.items())
    return [
        f"encoder: {source.name}, weights {source.weights}, eval mode, frozen",
        f"features: {place}: {widths}; {'read from a file' if cached else 'computed now'}",
        f"data: {sets.text}, not augmented",
    ]


def _feature_names(feature: str, features: Features) -> list[str]:
    check_choice("feature", feature, ("all", "class", "mean"))
    if feature == "class" and "class" not in features.arrays:
        raise ConfigError("feature='class': this encoder has no class token; use 'mean'")
    return [name for name in ("class", "mean") if name in features.arrays] if feature == "all" else [feature]


def _check_kinds(kind: Any) -> list[Kind]:
    kinds = [kind] if isinstance(kind, str) else list(kind)
    known = get_args(Kind)
    if not kinds or any(k not in known for k in kinds):
        raise ConfigError(f"kind={kind!r}: expected one or several of {', '.join(known)}")
    return list(dict.fromkeys(kinds))


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
