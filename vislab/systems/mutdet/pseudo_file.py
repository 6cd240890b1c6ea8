"""The file of pseudo labels: one table with a row per object, so that box, cluster and embedding cannot shift.

A safetensors file with `rboxes` (N, 5), `scores` (N,), `labels` (N,), `embeddings` (N, C) and `offsets` (images + 1,):
image i has the rows offsets[i] to offsets[i + 1]. The names and sizes of the images and the number of clusters are in
its metadata, as JSON.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vislab.errors import DataError
from vislab.io.atomic import write_atomically

TABLES = {"rboxes": 2, "scores": 1, "labels": 1, "embeddings": 2}  # and their number of axes
_DTYPES = {"labels": np.int64}


class PseudoImage(NamedTuple):
    """Name of an image below the folder, and its height and width."""

    name: str
    height: int
    width: int


class PseudoObjects(NamedTuple):
    """Objects of one image: rboxes (M, 5), scores (M,), labels (M,), embeddings (M, C)."""

    rboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray


def write_pseudo_labels(
    path: str | Path, images: Sequence[PseudoImage], objects: Sequence[PseudoObjects], clusters: int
) -> None:
    """Write the objects of all images.

    Raises:
        DataError: The numbers of boxes, labels, scores and embeddings of an image differ.
    """
    for image, found in zip(images, objects, strict=True):
        lengths = {key: len(value) for key, value in found._asdict().items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{image.name}: different numbers of {lengths}")
    offsets = np.cumsum([0, *(len(found.rboxes) for found in objects)])
    tables = {key: np.concatenate([getattr(found, key) for found in objects]) for key in TABLES}
    tables = {key: table.astype(_DTYPES.get(key, np.float32)) for key, table in tables.items()}
    index = {"clusters": clusters, "images": [list(image) for image in images]}
    data = save({**tables, "offsets": offsets}, metadata={"index": json.dumps(index)})
    write_atomically(path, lambda file: file.write(data))


class PseudoFile:
    """Reads a file of pseudo labels; rows are read when they are needed.

    Raises:
        DataError: The file is missing, damaged, or its tables differ in length.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._file, self._process = None, 0
        try:
            with safe_open(self.path, "np") as file:
                index = json.loads((file.metadata() or {})["index"])
                self.images = [PseudoImage(*image) for image in index["images"]]
                self.clusters = int(index["clusters"])
                self.offsets = file.get_tensor("offsets")
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in TABLES}
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{self.path} is not a file of pseudo labels, as made by tools/pseudo_labels.py: {error}"
            ) from error
        lengths = {key: shape[0] for key, shape in shapes.items()} | {"offsets": int(self.offsets[-1])}
        if len(set(lengths.values())) > 1 or any(len(shapes[key]) != axes for key, axes in TABLES.items()):
            raise DataError(f"{self.path}: the tables have different lengths or shapes: {shapes}, {lengths}")
        if len(self.offsets) != len(self.images) + 1 or (np.diff(self.offsets) < 0).any():
            raise DataError(f"{self.path}: {len(self.images)} images, but offsets of {len(self.offsets) - 1}")
        self._shapes = shapes
        self.channels = shapes["embeddings"][1]

    def read(self, number: int) -> PseudoObjects:
        """Return the objects of an image."""
        if self._file is None or self._process != os.getpid():  # each worker has its own handle
            self._file, self._process = safe_open(self.path, "np"), os.getpid()
        start, end = (int(n) for n in self.offsets[number : number + 2])
        if start == end:  # safetensors refuses empty slices at the end of a table
            empty = (np.zeros((0, *shape[1:]), _DTYPES.get(key, np.float32)) for key, shape in self._shapes.items())
            return PseudoObjects(*empty)
        return PseudoObjects(*(self._file.get_slice(key)[start:end] for key in TABLES))

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_file": None}
