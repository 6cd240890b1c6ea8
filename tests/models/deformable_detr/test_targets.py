"""Test the collection of labels: relative boxes, padding, entries to skip."""

import math

import pytest
import torch

from tests.helpers.deformable_detr import images, labeled
from vislab.errors import DataError
from vislab.models.deformable_detr.targets import collect


def gather(samples, rotated=False, classes=5):
    return collect(samples, images(len(samples)), num_classes=classes, rotated=rotated, model="a model")


def test_boxes_are_relative_to_the_image_without_padding():
    samples = labeled(2, (32, 48))
    samples[0].gt_instances.bboxes[0] = torch.tensor([0.0, 8.0, 24.0, 24.0])
    targets = gather(samples)
    assert targets.counts == (2, 3) and targets.boxes.shape == (2, 3, 4)
    assert targets.boxes[0, 0].tolist() == pytest.approx([0.25, 0.5, 0.5, 0.5])
    assert targets.state.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert targets.theta is None


def test_sides_of_rotated_boxes_are_in_pixels():
    samples = labeled(1, (32, 48))
    targets = gather(samples, rotated=True)
    torch.testing.assert_close(targets.sides[0], samples[0].gt_instances.rbboxes[:, 2:4])
    assert targets.angles.shape == (1, 2, 180) and (targets.elongation >= 1).all()


def test_ignored_entries_may_be_anything():
    samples = labeled(1)
    samples[0].gt_instances.labels[0] = 77
    samples[0].gt_instances.bboxes[0] = math.nan
    samples[0].gt_instances.ignore = torch.tensor([True, False])
    targets = gather(samples)
    assert targets.state.tolist() == [[0, 1]] and targets.labels.max() < 5
    assert targets.boxes.isfinite().all()


def test_there_must_be_labels():
    with pytest.raises(DataError, match="data_samples"):
        collect(None, images(1), num_classes=2, rotated=False, model="a model")
