"""Features of a dataset, computed once by an encoder in eval mode and kept in a file.

A file is found by a key over the weights of the encoder, the data and all settings. When it is read, the features of a
few images are computed again and compared, so that changes outside the key (the code of a model or transform) are
noticed too.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from vislab.errors import DataError
from vislab.io.archives import member_checksum, split_archive
from vislab.io.atomic import write_atomically
from vislab.models.encoders.tokens import Tokens, encode_tokens

_COMPARED = 8  # images computed again when a file is read
_TOLERANCE = 2e-2  # relative difference of their features; float16 and other batch sizes are far below


class Features(NamedTuple):
    """Features of a dataset by name: "class", "mean" (N, D) float32 and "tokens" (N, T, D) float16, and labels (N,)."""

    arrays: dict[str, np.ndarray]
    labels: np.ndarray


def check_features(train: Features, test: Features) -> None:
    """Check that the features of both sets can be classified.

    Raises:
        DataError: A set is empty, has another number of features than of labels, a label below 0, or NaN or infinity;
            or the training images are all of one class, for which any accuracy is meaningless.
    """
    for which, features in (("training", train), ("test", test)):
        count = len(features.labels)
        if not count:
            raise DataError(f"probe: there are no {which} images")
        if features.labels.min() < 0:
            raise DataError(
                f"probe: the label {features.labels.min()} of a {which} image is no class: expected 0, 1, .."
            )
        for name, values in features.arrays.items():
            if len(values) != count:
                raise DataError(f"probe: {len(values)} {which} features {name!r}, but {count} labels")
            bad = int((~np.isfinite(values)).reshape(count, -1).any(axis=1).sum())
            if bad:
                raise DataError(
                    f"probe: {bad} of {count} {which} features contain NaN or infinity: the encoder's weights are "
                    "damaged or its training diverged"
                )
    if (train.labels == train.labels[0]).all():
        raise DataError(
            f"probe: all {len(train.labels)} training images have class {train.labels[0]}: expected two or more"
        )


class Extractor:
    """Computes features of samples with an encoder, always in eval mode and without gradient.

    Args:
        encoder: A module that `encode_tokens` supports.
        preprocessor: Data preprocessor that returns a normalized batch.
        layer: As in `encode_tokens`.
        tokens: Keep all tokens besides the pooled features.
    """

    def __init__(
        self, encoder: nn.Module, preprocessor: nn.Module, *, layer: int | None = None, tokens: bool = False
    ) -> None:
        self.encoder, self.preprocessor, self.layer, self.tokens = encoder, preprocessor, layer, tokens

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the features of a collated batch by name."""
        modules = list(self.encoder.modules())
        modes = [module.training for module in modules]
        self.encoder.eval()
        try:
            with torch.inference_mode():
                inputs = self.preprocessor(dict(batch), False)["inputs"]
                found = encode_tokens(self.encoder, inputs, self.layer)
        finally:
            for module, mode in zip(modules, modes, strict=True):  # parts that are kept in eval mode stay so
                module.training = mode
        return _arrays(found, self.tokens)

    def fingerprint(self) -> str:
        """Return a checksum over weights, structure and settings of encoder and preprocessor."""
        whole = hashlib.sha256(repr((str(self.encoder), str(self.preprocessor), self.layer, self.tokens)).encode())
        for module in (self.encoder, self.preprocessor):
            for name, value in [*module.named_parameters(), *module.named_buffers()]:
                whole.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                data = value.detach().cpu().contiguous()
                whole.update(data.view(torch.uint8).numpy().tobytes() if data.ndim else str(data.item()).encode())
        for module in self.encoder.modules():  # such as num_heads, which neither shapes nor repr show
            plain = {k: v for k, v in vars(module).items() if isinstance(v, (int, float, str)) and k != "training"}
            whole.update(json.dumps(plain, sort_keys=True).encode())
        return whole.hexdigest()


def extract(
    extractor: Extractor,
    dataset: Dataset,
    *,
    batch_size: int = 256,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Return the features and labels of all samples of a dataset, in its order.

    Args:
        extractor: The encoder with its settings.
        dataset: Samples with "inputs" and "data_samples", which have gt_label.
        batch_size, num_workers: Settings of the data loader.
        progress: Called with the number of images done and of all images.

    Raises:
        DataError: A sample has no single label, images differ in size, features are too large for float16, or there is
            not enough memory for all tokens.
    """
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=pseudo_collate)
    arrays: dict[str, np.ndarray] = {}
    labels, done, total = np.empty(len(dataset), np.int64), 0, len(dataset)
    for batch in loader:
        found = extractor(batch)
        count = len(batch["data_samples"])
        for name, values in found.items():
            if name not in arrays:
                arrays[name] = _allocate((total, *values.shape[1:]), values.dtype)
            if arrays[name].shape[1:] != values.shape[1:]:
                raise DataError(
                    f"features of images of different sizes cannot be kept together: {arrays[name].shape[1:]} and "
                    f"{values.shape[1:]}; set one size for all images"
                )
            arrays[name][done : done + count] = values
        labels[done : done + count] = [_label(sample) for sample in batch["data_samples"]]
        done += count
        if progress is not None:
            progress(done, total)
    return Features(arrays, labels)


def cached_features(
    folder: Path, extractor: Extractor, dataset: Dataset, settings: Mapping[str, Any], **options: Any
) -> tuple[Features, bool]:
    """Return the features of a dataset from a file in `folder`, which is written if it does not exist.

    Args:
        folder: Folder of the files.
        extractor: The encoder with its settings.
        dataset: As in `extract`.
        settings: What else determines the features, such as the pipeline; plain values.
        options: Further arguments of `extract`.

    Returns:
        The features, and whether they were read from a file.
    """
    key = hashlib.sha256(
        json.dumps([extractor.fingerprint(), dataset_fingerprint(dataset), dict(settings)], sort_keys=True).encode()
    ).hexdigest()[:32]
    path = folder / f"features_{key}.npz"
    known = read_features(path)
    if known is not None and _still_valid(known, extractor, dataset):
        return known, True
    features = extract(extractor, dataset, **options)
    write_atomically(path, lambda file: np.savez(file, labels=features.labels, **features.arrays))
    return features, False


def read_features(path: Path) -> Features | None:
    """Return the features in a file; None if there is no such file, or it is damaged."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        return Features(arrays, arrays.pop("labels"))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        print_log(f"{path} is damaged ({error}): features are computed again", "current", logging.WARNING)
        return None


def _still_valid(known: Features, extractor: Extractor, dataset: Dataset) -> bool:
    """Compute the features of a few images again, and return whether they are those of the file."""
    places = np.unique(np.linspace(0, len(dataset) - 1, _COMPARED).round().astype(int))
    if len(known.labels) != len(dataset):
        return False
    found = extract(extractor, Subset(dataset, places.tolist()))
    same = set(found.arrays) == set(known.arrays) and bool((known.labels[places] == found.labels).all())
    for name, values in found.arrays.items() if same else ():
        old, new = known.arrays[name][places].astype(np.float64), values.astype(np.float64)
        same = same and old.shape == new.shape and np.abs(old - new).max() <= _TOLERANCE * max(np.abs(new).max(), 1e-6)
    if not same:
        print_log("cached features differ from those of the encoder: computed again", "current", logging.WARNING)
    return same


def dataset_fingerprint(dataset: Any) -> str:
    """Return a checksum over the records of a dataset and the state of their files.

    Files in archives count with size and CRC, other files with size and time of modification, images in memory with
    their pixels.
    """
    whole = hashlib.sha256()
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        path = str(record.get("img_path", index))
        if (inside := split_archive(path)) is not None:
            state: Any = member_checksum(*inside)
        elif os.path.isfile(path):
            stat = os.stat(path)
            state = stat.st_size, stat.st_mtime_ns
        elif "img" in record:
            state = hashlib.sha256(np.ascontiguousarray(record["img"]).tobytes()).hexdigest()
        else:
            raise DataError(f"{path} does not exist: features of {type(dataset).__name__} cannot be cached")
        whole.update(f"{path} {record.get('label')} {state}\n".encode())
    return whole.hexdigest()


def _arrays(tokens: Tokens, keep_tokens: bool) -> dict[str, np.ndarray]:
    found = {"mean": tokens.pool("mean").float().cpu().numpy()}
    if tokens.cls is not None:
        found["class"] = tokens.cls.float().cpu().numpy()
    if keep_tokens:
        kept = tokens.all().to(torch.float16)
        if bool(kept.isinf().any()):
            raise DataError("tokens exceed the range of float16: use layer=None (after the norm), or pooled features")
        found["tokens"] = kept.cpu().numpy()
    return found


def _allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory / 2:
        raise DataError(
            f"{shape[0]} images x {shape[1:]} features need {size / 2**30:.1f} GiB, more than half of the memory: use "
            "fewer images (train=N), smaller images, or a training config with a frozen encoder (EncoderClassifier)"
        )
    return np.empty(shape, dtype)


def _label(sample: Any) -> int:
    if "gt_label" not in sample or sample.gt_label.label.numel() != 1:
        raise DataError(f"{sample.get('img_path', 'a sample')} has no single class label; a probe needs one per image")
    return int(sample.gt_label.label)
