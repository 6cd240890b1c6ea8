"""Dataset of images with pseudo boxes, clusters and embeddings, for pre-training."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vislab.datasets.base import BaseDataset
from vislab.datasets.pairs import require_files
from vislab.errors import DataError
from vislab.io.paths import expand_path
from vislab.registry import DATASETS
from vislab.systems.mutdet.pseudo_file import PseudoFile


@DATASETS.register_module()
class PseudoBoxes(BaseDataset):
    """Images with the objects of a file of tools/pseudo_labels.py.

    Records have img_id (the name), img_path, height, width, gt_rbboxes, gt_labels (clusters), gt_embeddings (M, C),
    gt_ignore and gt_ids, all with a row per object. The classes are cluster_1, cluster_2, ..., or only "object".

    Args:
        data_root: Folder of the images; may contain `$VISLAB_DATA`.
        pseudo_labels: The file, not relative to `data_root`; may contain `$VISLAB_DATA`.
        single_class: Use class 0, "object", for all objects instead of their clusters.
        max_objects: Use at most the first objects of an image, those with the highest scores.
        filter_empty: Skip images without objects.
        pipeline, metainfo, indices, test_mode, lazy_init: See BaseDataset.

    Raises:
        DataError: An image is missing, or the file is not one of pseudo labels or has boxes and embeddings of different
            length.
    """

    def __init__(
        self,
        *,
        data_root: str,
        pseudo_labels: str,
        single_class: bool = False,
        max_objects: int | None = None,
        filter_empty: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.pseudo_labels = pseudo_labels
        self.single_class = single_class
        self.max_objects = max_objects
        self.filter_empty = filter_empty
        super().__init__(
            data_root=data_root,
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        self._table = PseudoFile(expand_path(self.pseudo_labels, "pseudo_labels"))
        classes = ("object",)
        if not self.single_class:
            classes = tuple(f"cluster_{i + 1}" for i in range(self._table.clusters))
        if self.given_classes not in (None, classes):
            raise DataError(f"PseudoBoxes has the classes {classes[0]}..{classes[-1]}; remove metainfo classes")
        self._metainfo["classes"] = classes
        records = [
            {
                "img_id": image.name,
                "img_path": os.path.join(self.data_root, image.name),
                "height": image.height,
                "width": image.width,
                "row": number,
            }
            for number, image in enumerate(self._table.images)
        ]
        require_files([record["img_path"] for record in records], "images", "data_root")
        return records

    def filter_data(self) -> list[dict]:
        if not self.filter_empty:
            return self.data_list
        counts = np.diff(self._table.offsets)
        return [record for record in self.data_list if counts[record["row"]]]

    def get_data_info(self, idx: int) -> dict:
        record = super().get_data_info(idx)
        found = self._table.read(record.pop("row"))
        count = len(found.labels[: self.max_objects])
        return record | {
            "gt_rbboxes": found.rboxes[:count].copy(),
            "gt_labels": found.labels[:count] * (not self.single_class),
            "gt_embeddings": found.embeddings[:count].copy(),
            "gt_ignore": np.zeros(count, bool),
            "gt_ids": np.arange(count),
        }
