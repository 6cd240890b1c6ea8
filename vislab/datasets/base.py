"""Base class of all datasets: $VISLAB_DATA in paths, errors that name the file, a random state per sample."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset as MMEngineDataset
from torch.utils.data import get_worker_info

from vislab.datasets.class_list import given_classes
from vislab.datasets.samplers import SeededIndex
from vislab.errors import DataError, VislabError
from vislab.io.paths import expand_path
from vislab.registry import TRANSFORMS


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context manager that seeds the generators of Python, NumPy and torch (CPU), and restores their states on exit.

    In data loader workers the states are not restored, since nothing else uses them.
    """
    keep = get_worker_info() is None
    if keep:
        states = random.getstate(), np.random.get_state(legacy=True), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators as well
    try:
        yield
    finally:
        if keep:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.default_generator.set_state(states[2])


class BaseDataset(MMEngineDataset):
    """A list of records and a pipeline of transforms that converts a record into a sample.

    Subclasses implement `load_data_list() -> list[dict]`, which reads and checks the annotations, but no images.

    Args:
        data_root: Folder of the dataset; may contain `$VISLAB_DATA`. If empty, the paths below are used as they are.
        ann_file: Annotation file, relative to `data_root`.
        data_prefix: Folders by type of file, relative to `data_root`.
        pipeline: Transforms, as objects or as dicts with a `type`.
        metainfo: Class names and other metainfo; overrides the `METAINFO` of the class. Labels are indices into
            `classes`: set it if the data lacks a class or has the classes in another order. Classes of the data that
                are not in it
            are an error.
        filter_cfg: Settings of `filter_data` in the subclass.

        serialize_data: Store the records in one memory block that is shared with the workers.
        test_mode: Raise an error for samples that the pipeline rejects (returns None for) instead of replacing them.
        lazy_init: Do not read the annotations yet.
        max_refetch: Maximum number of other samples to try when the pipeline rejects one.

    Raises:
        DataError: The folder or the annotation file is missing, there are no records, or a record is invalid.
    """

    def __init__(
        self,
        *,
        data_root: str = "",
        ann_file: str = "",
        data_prefix: Mapping[str, str] | None = None,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping[str, Any] | None = None,
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 100,
    ) -> None:
        data_root = expand_path(str(data_root)) if data_root else ""
        if data_root and not lazy_init and not Path(data_root).exists():
            raise DataError(
                f"data_root {data_root!r} of {type(self).__name__} does not exist. data/README.md shows the expected "
                "layout; set another folder with --cfg-options data_root=..."
            )
        self.given_classes = given_classes(metainfo, type(self).__name__)
        if self.given_classes is not None:
            metainfo = {**metainfo, "classes": self.given_classes}
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=dict(data_prefix or {}),
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            # vislab's registry, so that names also resolve in a notebook, where no runner has set the default scope
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline],
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        try:
            self.data_list = self.load_data_list()
        except FileNotFoundError as error:
            raise DataError(
                f"{type(self).__name__} needs {error.filename or error}, which does not exist. "
                "data/README.md shows the expected layout."
            ) from error
        found = len(self.data_list)
        self.data_list = self.filter_data()
        if not self.data_list:
            place = self.ann_file or self.data_root or "its source"
            why = f"all {found} records were filtered out by filter_cfg={self.filter_cfg}" if found else "none found"
            raise DataError(f"{type(self).__name__} has no samples in {place}: {why}.")
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def __getitem__(self, idx: int) -> Any:
        """Return a sample. If `idx` is a SeededIndex, the transforms use its random state."""
        if isinstance(idx, SeededIndex) and self.pipeline.transforms:
            with seeded(idx.seed):
                return super().__getitem__(idx)
        return super().__getitem__(idx)

    def prepare_data(self, idx: int) -> Any:
        record = self.get_data_info(idx)
        name = next((record[key] for key in ("img_path", "video_path") if key in record), f"record {int(idx)}")
        try:
            return self.pipeline(record)
        except VislabError:
            raise
        except (OSError, EOFError, ValueError) as error:  # other exceptions are bugs and keep their traceback
            raise DataError(
                f"cannot prepare {name} of {type(self).__name__}: {type(error).__name__}: {error}"
            ) from error
