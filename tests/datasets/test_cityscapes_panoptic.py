"""Test the panoptic layout of Cityscapes and invalid panoptic annotations."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from vislab.datasets.cityscapes_panoptic import CityscapesPanoptic
from vislab.datasets.transforms import (
    LoadImage,
    LoadPanoptic,
    PackInputs,
    PanopticToInstances,
    PanopticToSemSeg,
    SemSegToInstances,
)
from vislab.errors import DataError

CITY = "aachen_000000_000019"
CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0},
    {"id": 24, "name": "person", "isthing": 1},
    {"id": 26, "name": "car", "isthing": 1},
]


def tree(root, ids, segments, number=CITY, categories=CATEGORIES):
    """A tree in the published layout with one image of 8x8 whose id map is `ids`."""
    image = root / "leftImg8bit/train" / number.split("_")[0] / f"{number}_leftImg8bit.png"
    png = root / "gtFine/cityscapes_panoptic_train" / f"{number}_gtFine_panoptic.png"
    for path in (image, png):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((8, 8, 3), 90, np.uint8))
    ids = np.broadcast_to(np.asarray(ids, np.int64), (8, 8))
    cv2.imwrite(str(png), np.stack([ids >> 16, ids >> 8 & 255, ids & 255], -1).astype(np.uint8))
    entry = {"image_id": number, "file_name": png.name, "segments_info": segments}
    content = {
        "images": [{"id": number, "file_name": f"{number}_gtFine_leftImg8bit.png", "height": 8, "width": 8}],
        "annotations": [entry],
        "categories": categories,
    }
    (root / "gtFine/cityscapes_panoptic_train.json").write_text(json.dumps(content))
    return CityscapesPanoptic(
        data_root=str(root),
        ann_file="gtFine/cityscapes_panoptic_train.json",
        data_prefix={"img": "leftImg8bit/train", "panoptic": "gtFine/cityscapes_panoptic_train"},
        pipeline=[LoadImage(), LoadPanoptic(), PanopticToSemSeg(), PanopticToInstances(), PackInputs()],
    )


def segment(number, category, crowd=0):
    return {"id": number, "category_id": category, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]}


def test_published_layout(tmp_path):
    ids = np.full((8, 8), 7)
    ids[:4, :4], ids[5:, 5:] = 24001, 26000
    dataset = tree(tmp_path, ids, [segment(7, 7), segment(24001, 24), segment(26000, 26)])
    assert dataset.metainfo["thing_classes"] == ("person", "car") and dataset.metainfo["classes"][2] == "road"
    sample = dataset[0]["data_samples"]
    instances = sample.gt_instances
    assert sorted(instances.labels.tolist()) == [0, 1, 2]
    assert instances.masks[instances.labels == 0].sum() == 16
    assert instances.bboxes[instances.labels == 0].tolist() == [[0, 0, 4, 4]]


def test_an_image_of_another_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="Cityscapes"):
        tree(tmp_path, 7, [segment(7, 7)], number="000139")


@pytest.mark.parametrize(
    ("ids", "segments", "message"),
    [
        (9, [segment(7, 7)], "segment id 9"),
        (7, [segment(7, 99)], "category_id 99"),
        (7, [segment(7, 7), segment(7, 24)], "occurs twice"),
    ],
)
def test_contradictions_are_named(tmp_path, ids, segments, message):
    with pytest.raises(DataError, match=message):
        tree(tmp_path, ids, segments)[0]


@pytest.mark.parametrize(("ids", "segments"), [(0, []), (24000, [segment(24000, 24, crowd=1)])])
def test_void_and_crowds_leave_no_target(tmp_path, ids, segments):
    sample = tree(tmp_path, ids, segments)[0]["data_samples"]
    assert len(sample.gt_instances) == 0 and sample.gt_instances.masks.shape == (0, 8, 8)
    assert sample.gt_instances.bboxes.shape == (0, 4)


def test_a_mask_for_each_class_of_a_semantic_map():
    semantic = np.full((6, 6), 255, np.uint8)
    semantic[:2], semantic[3:, :2] = 4, 1
    results = {"img": np.zeros((6, 6, 3), np.uint8), "img_path": "x.png", "gt_sem_seg": semantic, "img_shape": (6, 6)}
    instances = Compose([SemSegToInstances(), PackInputs()])(dict(results))["data_samples"].gt_instances
    assert instances.labels.tolist() == [1, 4] and instances.masks.sum((1, 2)).tolist() == [6, 12]
    assert instances.bboxes.tolist() == [[0, 3, 2, 6], [0, 0, 6, 2]] and instances.labels.dtype == torch.int64
    results["gt_sem_seg"] = np.full((6, 6), 255, np.uint8)
    assert len(Compose([SemSegToInstances(), PackInputs()])(dict(results))["data_samples"].gt_instances) == 0
    with pytest.raises(DataError, match="LoadSemSeg"):
        SemSegToInstances()({"img_path": "x.png"})
