"""Common tests of all datasets; subclass DatasetBehavior and define how the dataset is built."""

import numpy as np
import torch

from vislab.datasets.base import BaseDataset
from vislab.datasets.samplers import SeededIndex
from vislab.datasets.transforms import LoadDepth, LoadImage, PackInputs, RandomFlip
from vislab.structures import DataSample


class DatasetBehavior:
    """Subclasses define `build(tmp_path, pipeline) -> BaseDataset` and `loaders`, the first steps of its pipeline."""

    loaders: tuple = ()

    def build(self, tmp_path, pipeline) -> BaseDataset:
        raise NotImplementedError

    def _dataset(self, tmp_path, *steps) -> BaseDataset:
        return self.build(tmp_path, [*(make() for make in self.loaders), *steps, PackInputs()])

    def test_items_are_packed_and_legal(self, tmp_path):
        dataset = self._dataset(tmp_path)
        assert len(dataset) >= 2
        for i in range(min(len(dataset), 4)):
            item = dataset[i]
            assert set(item) == {"inputs", "data_samples"}
            _check_item(item["inputs"], item["data_samples"], dataset.metainfo)

    def test_metainfo_names_the_classes(self, tmp_path):
        classes = self._dataset(tmp_path).metainfo["classes"]
        assert classes and all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes)

    def test_a_seeded_index_fixes_the_augmentation(self, tmp_path):
        dataset = self._dataset(tmp_path, RandomFlip(prob=0.5))
        draws = []
        for seed in range(12):
            a, b = dataset[SeededIndex(1, seed)], dataset[SeededIndex(1, seed)]
            assert torch.equal(a["inputs"], b["inputs"])
            draws.append(a["data_samples"].flip)
        assert len(set(draws)) == 2  # different seeds do differ

    def test_records_survive_changes_by_transforms(self, tmp_path):
        def spoil(results):
            for value in results.values():
                if isinstance(value, np.ndarray):
                    value[...] = 0
                elif isinstance(value, list):
                    value.clear()
            return {}

        spoiled = self.build(tmp_path, [spoil])
        before = str(spoiled.get_data_info(0))
        spoiled[0]
        assert str(spoiled.get_data_info(0)) == before


class DepthBehavior(DatasetBehavior):
    """Tests for every dataset of depth maps; it has no classes."""

    loaders = (LoadImage, LoadDepth)

    def test_metainfo_names_the_classes(self, tmp_path):
        assert "classes" not in self._dataset(tmp_path).metainfo


def _check_item(inputs: torch.Tensor, sample: DataSample, metainfo: dict) -> None:
    assert isinstance(sample, DataSample) and inputs.dtype == torch.uint8 and inputs.shape[0] == 3
    h, w = inputs.shape[1:]
    assert tuple(sample.img_shape) == (h, w) and isinstance(sample.img_path, str)
    classes = len(metainfo.get("classes", ()))  # depth has none
    if "gt_label" in sample:
        assert -1 <= sample.gt_label.label.item() < classes
    if "gt_sem_seg" in sample:
        labels = sample.gt_sem_seg.data
        assert labels.shape == (1, h, w) and bool(((labels < classes) | (labels == 255)).all())
    if "gt_depth" in sample:
        assert sample.gt_depth.data.dtype == torch.float32 and sample.gt_depth.data.min() >= 0
    if "gt_panoptic" in sample:
        listed = {s["id"]: s for s in sample.gt_panoptic.segments_info}
        assert set(sample.gt_panoptic.data.unique().tolist()) - {0} == set(listed)
        assert all(0 <= s["category"] < classes or s["category"] == 255 for s in listed.values())
    if "gt_instances" in sample:
        instances = sample.gt_instances
        assert bool(((instances.labels >= 0) & (instances.labels < classes)).all())
        if "bboxes" in instances:
            assert instances.bboxes.shape == (len(instances), 4)
            assert bool((instances.bboxes[:, 2:] > instances.bboxes[:, :2]).all())
        if "rbboxes" in instances:
            assert bool((instances.rbboxes[:, 2] >= instances.rbboxes[:, 3]).all())
        if "masks" in instances:
            assert instances.masks.shape == (len(instances), h, w) and bool(instances.masks.flatten(1).any(1).all())
