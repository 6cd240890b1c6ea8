"""Test predictions as plain data: numbers in JSON, maps in separate files."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData
from pycocotools import mask as coco

from vislab.apis.results import to_plain_results, write_image
from vislab.errors import DataError
from vislab.structures import DataSample

CORNERS = [0.64, -0.47, 3.28, 0.96, 1.36, 4.47, -1.28, 3.04]  # of (1, 2, 3, 4, 0.5)


def test_compressed_masks_stay_so():
    mask = np.asfortranarray(np.eye(5, 6, dtype=np.uint8))
    sample = DataSample(metainfo={"ori_shape": (5, 6)})
    sample.pred_instances = InstanceData(labels=torch.tensor([0]), masks=[coco.encode(mask)])
    (instance,) = json.loads(json.dumps(to_plain_results(sample, None, "x", None)))["instances"]
    assert np.array_equal(coco.decode(instance["mask"]), mask)


def test_results_are_plain_data(tmp_path):
    sample = DataSample(metainfo={"ori_shape": (4, 6)})
    sample.pred_label = LabelData(label=torch.tensor([1]), score=torch.tensor([0.25, 0.75]))
    masks = torch.zeros(1, 4, 6, dtype=torch.uint8)
    masks[0, 1:3, 2:5] = 1
    sample.pred_instances = InstanceData(
        labels=torch.tensor([0]), scores=torch.tensor([0.5]), bboxes=torch.tensor([[2.0, 1, 5, 3]]), masks=masks
    )
    sample.pred_sem_seg = PixelData(data=torch.arange(24).view(1, 4, 6) % 3)
    sample.pred_depth = PixelData(data=torch.full((1, 4, 6), 1.5))
    plain = json.loads(json.dumps(to_plain_results(sample, tmp_path, "sub/x", ["cat", "dog"])))
    assert plain["label"] == {"id": 1, "name": "dog"} and plain["score"] == 0.75 and plain["size"] == [4, 6]
    assert plain["top"][1] == {"label": {"id": 0, "name": "cat"}, "score": 0.25} and len(plain["top"]) == 2
    (instance,) = plain["instances"]
    assert instance["label"]["name"] == "cat" and instance["bbox"] == [2, 1, 5, 3]

    assert coco.area(instance["mask"]) == 6

    seg = cv2.imread(str(tmp_path / plain["sem_seg"]), cv2.IMREAD_UNCHANGED)
    assert (seg == np.arange(24).reshape(4, 6) % 3).all()
    depth = cv2.imread(str(tmp_path / plain["depth"]), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and (depth == 1500).all()


def test_depth_beyond_16_bits_of_millimeters(tmp_path):
    for depth, name in ((1.5, "x_depth.png"), (80.25, "x_depth.tiff")):
        sample = DataSample(pred_depth=PixelData(data=torch.full((1, 4, 6), depth)))
        assert to_plain_results(sample, tmp_path, "x")["depth"] == name
        values = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
        assert (values == (1500 if name.endswith("png") else 80.25)).all()


def test_maps_take_the_smallest_type_that_holds_them(tmp_path):
    for top, dtype in ((255, np.uint8), (256, np.uint16)):
        sample = DataSample(pred_sem_seg=PixelData(data=torch.full((1, 2, 3), top)))
        written = cv2.imread(str(tmp_path / to_plain_results(sample, tmp_path, "x")["sem_seg"]), cv2.IMREAD_UNCHANGED)
        assert written.dtype == dtype and (written == top).all()


def test_segments_boxes_and_pictures(tmp_path):
    segments = [{"id": np.int64(1), "score": torch.tensor(0.5)}]
    sample = DataSample(
        pred_panoptic=PixelData(data=torch.ones(1, 2, 3), metainfo={"segments_info": segments}),
        pred_instances=InstanceData(rbboxes=torch.tensor([[1.00004, 2, 3, 4, 0.5]])),
        pred_image=torch.tensor([1.2, 0.5, -0.1]).view(3, 1, 1).expand(3, 2, 4),
    )
    plain = to_plain_results(sample, tmp_path, "x")
    assert json.loads(json.dumps(plain)) == {
        "instances": [{"rbbox": [1.0, 2.0, 3.0, 4.0, 0.5], "corners": CORNERS}], "panoptic": "x_panoptic.png",
        "segments": [{"id": 1, "score": 0.5}], "image": "x_image.png",
    }  # fmt: skip
    assert cv2.imread(str(tmp_path / "x_image.png"))[0, 0].tolist() == [0, 128, 255]  # BGR
    assert set(to_plain_results(sample, None, "x")) == {"instances", "segments"}  # no folder, no maps


def test_labels_without_a_name_stay_numbers():
    sample = DataSample(pred_label=LabelData(label=torch.tensor([7])))
    assert to_plain_results(sample, None, "x")["label"] == 7
    assert to_plain_results(sample, None, "x", ["a"])["label"] == 7


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder, name in ((tmp_path / "file", "x.png"), (tmp_path, "x" * 300 + ".png")):
        with pytest.raises(DataError, match="cannot write"):
            write_image(np.zeros((2, 2), np.uint8), folder, name)
