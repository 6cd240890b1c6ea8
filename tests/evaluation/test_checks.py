"""Test that fields of an unexpected type or shape raise an error with metric and image."""

import pytest
import torch

from vislab.errors import DataError
from vislab.evaluation.classification import Accuracy
from vislab.evaluation.coco import CocoMetric
from vislab.evaluation.depth import DepthMetric
from vislab.evaluation.semantic import SemSegMetric

PLANE = {"data": torch.ones(1, 4, 4, dtype=torch.long)}


@pytest.mark.parametrize(
    ("metric", "fields"),
    [
        (Accuracy(), {"gt_label": {"label": torch.tensor([float("inf")])}, "pred_label": {"score": torch.rand(3)}}),
        (Accuracy(), {"gt_label": None, "pred_label": {"score": torch.rand(3)}}),
        (SemSegMetric(num_classes=3), {"gt_sem_seg": PLANE, "pred_sem_seg": {"data": torch.ones(0, 4, 4)}}),
        (DepthMetric(), {"gt_depth": PLANE, "pred_depth": "x"}),
        (CocoMetric(), {"gt_instances": {}, "pred_instances": {}, "ori_shape": (4, 4)}),
    ],
)
def test_odd_fields_are_named(metric, fields):
    with pytest.raises(
        DataError, match=rf"{type(metric).__name__}: labels or predictions of a\.png cannot be evaluated"
    ):
        metric.process({}, [{"img_path": "a.png", **fields}])
