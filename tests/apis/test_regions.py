"""Test regions: boxes around masks by a loop, segments of maps, and supervision, which draws and filters them."""

import numpy as np
import pytest

from tests.apis.test_prediction import classified, depth, objects, panoptic, rotated, semantic, with_masks
from vislab.apis.regions import boxes_of, regions_of_map
from vislab.errors import ConfigError


def test_boxes_around_masks():
    masks = np.random.default_rng(0).random((20, 9, 7)) > 0.9
    masks[3] = False
    for mask, box in zip(masks, boxes_of(masks), strict=True):
        y, x = np.nonzero(mask)
        expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert box.tolist() == expected
    assert boxes_of(np.zeros((0, 4, 5), bool)).shape == (0, 4)


def test_segments_without_pixels_are_left_out():
    ids = np.zeros((4, 5), np.int64)
    ids[0] = 2
    found = regions_of_map(ids, [{"id": 2, "category": 1}, {"id": 9, "category": 0}])
    assert found.labels.tolist() == [1] and found.scores is None and found.masks.sum() == 5
    none = regions_of_map(ids, [])
    assert none.boxes.shape == (0, 4) and none.masks.shape == (0, 4, 5)


@pytest.mark.peer
@pytest.mark.parametrize("make", [objects, with_masks, rotated, panoptic, semantic], ids=lambda make: make.__name__)
def test_supervision_takes_them(make):
    sv = pytest.importorskip("supervision")
    found = make()
    detections = found.to_supervision()
    assert isinstance(detections, sv.Detections) and len(detections) == len(found.to_coco())
    assert detections["class_name"].tolist() == [row["category_name"] for row in found.to_coco()]
    if make is rotated:
        scene = sv.OrientedBoxAnnotator().annotate(found.image.copy(), detections)
        np.testing.assert_allclose(detections.data["xyxyxyxy"], found.corners)
    elif detections.mask is not None:
        scene = sv.MaskAnnotator().annotate(found.image.copy(), detections)
        np.testing.assert_allclose(sv.mask_to_xyxy(detections.mask) + [0, 0, 1, 1], detections.xyxy)
    else:
        scene = sv.BoxAnnotator().annotate(found.image.copy(), detections)
        sure = detections[detections.confidence > 0.4]
        assert len(sv.LabelAnnotator().annotate(scene.copy(), sure)) and len(sure) == 2
        assert len(detections.with_nms(0.5)) == 3
    assert (scene != found.image).any()


@pytest.mark.peer
def test_supervision_takes_nothing_and_classes():
    sv = pytest.importorskip("supervision")
    none = with_masks().filter(0.99).to_supervision()
    assert len(none) == 0 and (sv.MaskAnnotator().annotate(objects().image.copy(), none) == objects().image).all()
    assert len(sv.Detections.merge([none, with_masks().to_supervision()])) == 3
    labels, scores = classified().to_supervision().get_top_k(2)
    assert labels.tolist() == [1, 0] and scores.tolist() == pytest.approx([0.7, 0.2])
    with pytest.raises(ConfigError, match="the model predicts depth"):
        depth().to_supervision()
