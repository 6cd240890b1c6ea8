"""Test the proposer by contours on drawn objects: bright, dark and colored, of any angle; and on real images."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.helpers import CONFIGS
from vislab.io.images import read_rgb
from vislab.ops.rotated_iou import rotated_iou_matrix
from vislab.registry import DATASETS
from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet.contour_proposer import ContourProposer
from vislab.systems.mutdet.recall import labeled_boxes, recall

BOXES = np.array([(60, 50, 40, 14, 0.5), (150, 60, 24, 20, -0.9), (70, 150, 50, 10, 1.4), (170, 160, 30, 12, 0.0)])
COLORS = [(230, 230, 230), (20, 20, 20), (160, 70, 70), (110, 110, 180)]


def picture(scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    img = rng.normal(110, 4, (220, 230, 3)).clip(0, 255).astype(np.uint8)
    for box, color in zip(BOXES, COLORS, strict=True):
        points = (rb.rboxes_to_corners(box) - 0.5).round().astype(np.int32)
        cv2.fillConvexPoly(img, points, color)
    return cv2.resize(img, None, fx=scale, fy=scale)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_drawn_objects_are_found(scale):
    found = ContourProposer(limit=30)(picture(scale))
    expected = BOXES * [scale, scale, scale, scale, 1]
    iou = rotated_iou_matrix(torch.from_numpy(expected), torch.from_numpy(found.rboxes).double())
    assert (iou.max(dim=1).values > 0.7).all()
    assert (np.diff(found.scores) <= 0).all() and len(found.rboxes) <= 30
    assert iou[:, :8].max(dim=1).values.min() > 0.7  # they are the best


def test_the_result_is_always_the_same():
    a, b = (ContourProposer()(picture()) for _ in range(2))
    np.testing.assert_array_equal(a.rboxes, b.rboxes)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64)])
def test_images_without_objects(size):
    found = ContourProposer()(np.full((*size, 3), 90, np.uint8))
    assert found.rboxes.shape == (0, 5) and found.scores.shape == (0,)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("hit_uav", 0.40), ("dota8", 0.18)])
def test_recall_on_real_images(name, least, data_root):
    cfg = Config.fromfile(CONFIGS / f"_base_/datasets/{name}.py")
    truth = labeled_boxes(DATASETS.build({**cfg.train_set, "pipeline": []}))
    truth = dict(list(truth.items())[:: 15 if name == "hit_uav" else 1])
    proposer = ContourProposer()
    found = {path: proposer(read_rgb(path)).rboxes for path in truth}
    values, total = recall(found, truth, (100,))
    assert total > 100 and values[100] > least
