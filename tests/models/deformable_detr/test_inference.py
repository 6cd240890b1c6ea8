"""Test predictions: order, classes, and the frame of the original image."""

import math

import pytest
import torch

from vislab.errors import ConfigError
from vislab.models.deformable_detr.heads import Detections
from vislab.models.deformable_detr.inference import BoxInference
from vislab.structures import DataSample


def sample(img=(80, 100), ori=(160, 400)):
    return DataSample(metainfo={"img_shape": img, "ori_shape": ori})


def output(boxes, logits, bins=None):
    boxes, logits = torch.tensor([boxes]), torch.tensor([logits])
    angles = None if bins is None else 9.0 * torch.nn.functional.one_hot(torch.tensor([bins]), 180).float()
    return Detections(torch.zeros(*boxes.shape[:2], 4), logits, boxes, angles)


def test_boxes_are_scaled_by_width_and_height_each():
    item = sample()
    BoxInference()(output([[0.5, 0.5, 0.2, 0.5]], [[2.0, -3.0]]), [item], (96, 128))
    found = item.pred_instances
    assert found.labels.tolist() == [0, 1] and found.scores[0] > found.scores[1]
    assert found.bboxes[0].tolist() == pytest.approx([160, 40, 240, 120])


def test_best_pairs_of_query_and_class_first():
    item = sample()
    BoxInference(max_instances=3)(output([[0.5] * 4, [0.2] * 4], [[0.0, 3.0], [2.0, 1.0]]), [item], (96, 128))
    assert item.pred_instances.labels.tolist() == [1, 0, 1]
    assert item.pred_instances.scores.tolist() == pytest.approx([0.9526, 0.8808, 0.7311], abs=1e-4)
    BoxInference(score_threshold=0.9)(output([[0.5] * 4], [[0.0, 3.0]]), [item], (96, 128))
    assert item.pred_instances.labels.tolist() == [1]


def test_rotated_boxes_in_an_image_that_is_not_square():
    item = sample(img=(80, 100), ori=(160, 200))
    BoxInference()(output([[0.5, 0.5, 0.4, 0.25]], [[2.0]], [120]), [item], (96, 128))
    expected = [100, 80, 80, 40, math.radians(30.5)]
    assert item.pred_instances.rbboxes[0].tolist() == pytest.approx(expected, abs=1e-3)
    assert item.pred_instances.bboxes.shape == (1, 4)


def test_narrow_boxes_are_turned_to_le90():
    item = sample(img=(100, 100), ori=(100, 100))
    BoxInference()(output([[0.5, 0.5, 0.1, 0.3]], [[2.0]], [100]), [item], (100, 100))
    assert item.pred_instances.rbboxes[0].tolist() == pytest.approx([50, 50, 30, 10, math.radians(10.5 - 90)], abs=1e-3)


def test_there_must_be_an_instance():
    with pytest.raises(ConfigError):
        BoxInference(max_instances=0)
