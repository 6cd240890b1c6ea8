"""Test masks of the classes of a semantic map, for models trained on masks."""

import numpy as np
import pytest

from vislab.datasets.transforms import LoadImage, Resize, SemSegToInstances
from vislab.errors import DataError


def sample() -> dict:
    semantic = np.full((6, 8), 255, np.uint8)
    semantic[1:3, 2:7], semantic[4, 0], semantic[5, 7] = 4, 0, 0
    return LoadImage()({"img": np.zeros((6, 8, 3), np.uint8)}) | {"gt_sem_seg": semantic}


def test_one_instance_for_each_class():
    results = SemSegToInstances()(sample() | {"gt_rbboxes": np.zeros((9, 5)), "gt_areas": np.zeros(9)})
    assert results["gt_labels"].tolist() == [0, 4] and results["gt_labels"].dtype == np.int64
    assert results["gt_bboxes"].tolist() == [[0, 4, 8, 6], [2, 1, 7, 3]]
    assert results["gt_masks"].dtype == np.uint8 and results["gt_masks"].sum((1, 2)).tolist() == [2, 10]
    assert np.argwhere(results["gt_masks"][0]).tolist() == [[4, 0], [5, 7]]
    assert not results["gt_ignore"].any() and results["gt_ids"].tolist() == [0, 1]
    assert "gt_rbboxes" not in results and "gt_areas" not in results  # of other instances


def test_another_value_may_be_ignored():
    results = SemSegToInstances(ignore_index=0)(sample())
    assert results["gt_labels"].tolist() == [4, 255]


def test_a_map_without_a_class():
    results = sample()
    results["gt_sem_seg"][...] = 255
    results = SemSegToInstances()(results)
    assert results["gt_masks"].shape == (0, 6, 8) and results["gt_bboxes"].shape == (0, 4)
    assert len(results["gt_labels"]) == len(results["gt_ids"]) == len(results["gt_ignore"]) == 0


def test_the_scale_of_the_map_is_that_of_the_masks():
    resized = Resize(size=(12, 32))(sample())
    results = SemSegToInstances()(resized)
    assert results["gt_scale_factor"] == (4.0, 2.0) and results["gt_masks"].sum((1, 2)).tolist() == [16, 80]
    label_loaded_later = Resize(size=(12, 32))(LoadImage()({"img": np.zeros((6, 8, 3), np.uint8)}))
    label_loaded_later |= {"gt_sem_seg": np.zeros((12, 32), np.uint8)}
    assert SemSegToInstances()(label_loaded_later)["gt_scale_factor"] == (1.0, 1.0)


def test_without_a_map():
    with pytest.raises(DataError, match="a.png has no gt_sem_seg: put LoadSemSeg before"):
        SemSegToInstances()({"img_path": "a.png"})
