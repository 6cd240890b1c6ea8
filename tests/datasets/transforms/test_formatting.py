"""Test packing: labels derived from the panoptic map, tensors and samples with unchanged values."""

import numpy as np
import pytest
import torch

from vislab.datasets.transforms import (
    LoadImage,
    PackInputs,
    PanopticToInstances,
    PanopticToSemSeg,
)
from vislab.errors import DataError


def _image(h: int, w: int) -> dict:
    return LoadImage()({"img": np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)})


def test_packing_copies_no_pixels_and_keeps_meta():
    results = _image(10, 20)
    packed = PackInputs()(results | {"img_path": "a.jpg", "label": 3})
    assert packed["inputs"].shape == (3, 10, 20) and packed["inputs"].data_ptr() == results["img"].ctypes.data
    assert packed["data_samples"].img_path == "a.jpg" and packed["data_samples"].gt_label.label.item() == 3


def test_packing_refuses_labels_that_do_not_belong_together():
    with pytest.raises(DataError, match="differ in length"):
        PackInputs()(_image(4, 4) | {"gt_labels": np.zeros(2, np.int64), "gt_bboxes": np.zeros((3, 4), np.float32)})


def _panoptic() -> dict:
    ids = np.zeros((10, 20), np.int32)
    ids[2:], ids[5:, 10:], ids[9:] = 1, 2, 3
    info = [
        {"id": 1, "category": 7, "iscrowd": 0, "area": 1},
        {"id": 2, "category": 0, "iscrowd": 0, "area": 1},
        {"id": 3, "category": 2, "iscrowd": 1, "area": 1},
        {"id": 4, "category": 5, "iscrowd": 0, "area": 9},  # cropped away
    ]
    return _image(10, 20) | {"gt_panoptic": ids, "segments_info": info}


def test_panoptic_to_other_labels():
    labels = PanopticToSemSeg()(_panoptic())["gt_sem_seg"]
    assert labels[0, 0] == 255 and labels[3, 0] == 7 and labels[6, 15] == 0 and labels[9, 0] == 2
    assert PanopticToSemSeg(ignore_crowd=True)(_panoptic())["gt_sem_seg"][9, 0] == 255
    instances = PanopticToInstances()(_panoptic())
    assert instances["gt_labels"].tolist() == [7, 0] and instances["gt_bboxes"][1].tolist() == [10, 5, 20, 9]
    assert PanopticToInstances(classes=[0])(_panoptic())["gt_masks"].shape == (1, 10, 20)


def test_packed_panoptic_lists_only_what_is_there():
    sample = PackInputs()(_panoptic())["data_samples"]
    assert {s["id"]: s["area"] for s in sample.gt_panoptic.segments_info} == {1: 100, 2: 40, 3: 20}
    assert sample.to_dict()["gt_panoptic"]["data"].dtype == torch.int32
