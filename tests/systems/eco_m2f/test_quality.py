"""Test the quality of the prediction of one image against known values."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from tests.helpers.eco_m2f import (
    CLASSES,
    labeled_samples,
)
from vislab.errors import DataError
from vislab.structures import DataSample
from vislab.systems.eco_m2f import (
    image_quality,
)
from vislab.systems.eco_m2f.quality import mean_iou, set_quality


def test_average_precision_of_an_image():
    sample = labeled_samples(1)[0]
    truth = sample.gt_instances
    sample.pred_instances = InstanceData(labels=truth.labels, masks=truth.masks, scores=torch.tensor([0.9, 0.8]))
    assert image_quality(sample, "ap", CLASSES) == (pytest.approx(1.0), None)
    with pytest.raises(DataError, match="pred_panoptic"):
        image_quality(sample, "pq", CLASSES)


@pytest.mark.parametrize("measure", ["box_ap", "rotated_ap"])
def test_average_precision_of_boxes(measure):
    """One of two objects is found exactly, the other not at all: the mean over their classes is a half."""
    sample = DataSample(metainfo={"ori_shape": (64, 64), "img_shape": (64, 64)})
    key, boxes = ("bboxes", [[5, 5, 25, 20], [30, 30, 50, 60]])
    if measure == "rotated_ap":
        key, boxes = "rbboxes", [[15, 12, 20, 15, 0.3], [40, 45, 30, 20, -1.0]]
    sample.gt_instances = InstanceData(labels=torch.tensor([0, 1]), **{key: torch.tensor(boxes, dtype=torch.float)})
    sample.pred_instances = sample.gt_instances[:1].clone()
    sample.pred_instances.scores = torch.tensor([0.9])
    assert image_quality(sample, measure, CLASSES) == (pytest.approx(0.5), None)
    sample.gt_instances = sample.gt_instances[:0]
    assert image_quality(sample, measure, CLASSES) == (0.0, None)


def maps(found: list[int], truth: list[int]) -> DataSample:
    return DataSample(
        pred_sem_seg=PixelData(data=torch.tensor(found).view(1, 1, -1)),
        gt_sem_seg=PixelData(data=torch.tensor(truth).view(1, 1, -1)),
    )


def test_mean_iou_of_an_image():
    """Class 0: 2 of 3 pixels; class 1: 1 of 3; class 2 is not there; the last pixel is ignored."""
    quality, counts = image_quality(maps([0, 0, 1, 1, 0], [0, 0, 0, 1, 255]), "miou", 3)
    assert counts.tolist() == [[2, 2, 3], [1, 2, 1], [0, 0, 0]]
    assert quality == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert mean_iou(np.zeros((3, 3))) == 0


def test_panoptic_quality_of_an_image():
    """Segment 1 is found with an IoU of 4 / 5, segment 2 is missed, a segment of class 2 is invented."""
    truth = torch.tensor([1, 1, 1, 1, 1, 2, 2, 0]).view(1, 1, -1)
    found = torch.tensor([1, 1, 1, 1, 0, 0, 0, 3]).view(1, 1, -1)
    sample = DataSample(
        gt_panoptic=PixelData(
            data=truth,
            metainfo={
                "segments_info": [{"id": 1, "category": 0, "iscrowd": 0}, {"id": 2, "category": 1, "iscrowd": 0}]
            },
        ),
        pred_panoptic=PixelData(
            data=found, metainfo={"segments_info": [{"id": 1, "category": 0}, {"id": 3, "category": 2}]}
        ),
    )
    quality, counts = image_quality(sample, "pq", 3)
    assert counts[0].tolist() == pytest.approx([0.8, 1, 0, 0]) and counts[1].tolist() == [0, 0, 0, 1]
    assert quality in (pytest.approx(0.8 / 2), pytest.approx(0.8 / 3))  # a segment on void alone does not count
    assert set_quality(np.stack([counts, counts]), "pq") == pytest.approx(quality)


def test_counts_add_up_over_images():
    one, other = ([0, 0, 1, 1], [0, 0, 0, 1]), ([1, 1, 0, 0], [1, 0, 0, 0])
    both = image_quality(maps(one[0] + other[0], one[1] + other[1]), "miou", 2)[0]
    counts = np.stack([image_quality(maps(*pair), "miou", 2)[1] for pair in (one, other)])
    assert set_quality(counts, "miou") == pytest.approx(both)


def test_unknown_measures():
    with pytest.raises(ValueError, match="measure='iou' is not one of pq, miou, ap, box_ap, rotated_ap"):
        image_quality(maps([0], [0]), "iou", 2)
