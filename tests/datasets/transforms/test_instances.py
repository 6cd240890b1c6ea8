"""Test instances: all mask formats have equal pixels, both kinds of boxes, malformed entries."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs
from vislab.errors import DataError


def _load(path) -> dict:
    return LoadImage()({"img_path": str(path)})


def _instances() -> dict:
    square = np.zeros((40, 60), np.uint8)
    square[10:20, 30:50] = 1
    packed = coco_mask.encode(np.asfortranarray(square))
    text = {"size": packed["size"], "counts": packed["counts"].decode()}
    runs = np.flatnonzero(np.diff(np.concatenate([[0], square.T.ravel(), [0]]).astype(int)))
    counts = np.diff(np.concatenate([[0], runs, [square.size]])).tolist()
    box = [30.0, 10.0, 50.0, 20.0]
    return {
        "ori_shape": (40, 60),
        "instances": [
            {"bbox": box, "label": 2, "mask": text},
            {"bbox": box, "label": 0, "mask": {"size": [40, 60], "counts": counts}, "ignore": 1},
            {"bbox": box, "label": 1, "mask": [[30, 10, 50, 10, 50, 20, 30, 20]]},
        ],
    }, square


def test_every_form_of_mask_gives_the_same_pixels():
    results, square = _instances()
    loaded = LoadAnnotations(with_mask=True)(results)
    for mask in loaded["gt_masks"]:
        np.testing.assert_array_equal(mask, square)
    assert loaded["gt_labels"].tolist() == [2, 0, 1] and loaded["gt_ignore"].tolist() == [False, True, False]
    assert loaded["gt_bboxes"].dtype == np.float32 and loaded["gt_ids"].tolist() == [0, 1, 2]


def test_boxes_of_either_kind_stand_in_for_the_other():
    record = {"instances": [{"bbox": [0, 0, 4, 10], "label": 0}, {"rbbox": [20, 20, 10, 4, 0.0], "label": 1}]}
    results = LoadAnnotations(with_rbbox=True)({**record, "ori_shape": (40, 60)})
    np.testing.assert_allclose(results["gt_bboxes"], [[0, 0, 4, 10], [15, 18, 25, 22]], atol=1e-5)
    np.testing.assert_allclose(results["gt_rbboxes"][0], [2, 5, 10, 4, -np.pi / 2], atol=1e-5)


def test_no_instances():
    results = LoadAnnotations(with_rbbox=True, with_mask=True)({"instances": [], "ori_shape": (40, 60)})
    assert results["gt_bboxes"].shape == (0, 4) and results["gt_rbboxes"].shape == (0, 5)
    assert results["gt_masks"].shape == (0, 40, 60) and results["gt_labels"].shape == (0,)


@pytest.mark.parametrize("mask", [None, {"counts": "x"}, {"size": [40, 60], "counts": 7}, [["a"]], [[1, 2, 3]]])
def test_malformed_masks_are_named(mask):
    record = {
        "instances": [{"bbox": [0, 0, 4, 4], "label": 0, "mask": mask}],
        "ori_shape": (40, 60),
        "img_path": "x.jpg",
    }
    with pytest.raises(DataError, match="mask of instance 0 of x.jpg"):
        LoadAnnotations(with_mask=True)(record)


def test_mask_of_another_size_is_refused():
    results, _ = _instances()
    with pytest.raises(DataError, match=r"is 40x60 \(h x w\).* is 60x40"):
        LoadAnnotations(with_mask=True)({**results, "ori_shape": (60, 40)})


SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def test_an_instance_without_pixels_is_said_and_stays_for_the_metric(logged):
    record = {
        "img": np.zeros((60, 80, 3), np.uint8),
        "img_path": "sliver.jpg",
        "instances": [
            {"bbox": [10, 10, 30, 30], "label": 1, "mask": SQUARE, "id": 70},
            {"bbox": [10, 10, 30, 11], "label": 0, "mask": [[10, 10, 30, 10, 30, 10.01]], "id": 71},
        ],
    }
    for _ in range(2):  # once, however often the sample comes
        packed = PackInputs()(LoadAnnotations(with_mask=True)(LoadImage()(dict(record))))
    instances = packed["data_samples"].gt_instances
    assert instances.labels.tolist() == [1, 0] and instances.masks.sum((1, 2)).tolist() == [400, 0]
    assert logged().count("the mask of instance 1 (annotation 71) of sliver.jpg has no pixel") == 1
