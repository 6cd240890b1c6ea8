"""Test rotated NMS: against a plain loop with shapely, ties, classes, blocks, invalid input."""

import pytest
import torch

from tests.helpers.rotated_oracles import polygons, random_rboxes
from vislab.errors import DataError
from vislab.ops import rotated_nms as module
from vislab.ops.rotated_iou import rotated_iou_matrix
from vislab.ops.rotated_nms import rotated_nms


def loop(iou, scores, labels, threshold: float) -> list[int]:
    """The definition: visit boxes by descending score, keep what overlaps no kept box of its class."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -float(scores[i])):
        if all(labels[i] != labels[k] or iou(i, k) <= threshold for k in kept):
            kept.append(i)
    return kept


def detections(count: int, seed: int, spread: float = 200):
    generator = torch.Generator().manual_seed(seed)
    objects = random_rboxes(max(1, count // 5), seed, spread)
    boxes = objects[torch.randint(len(objects), (count,), generator=generator)]
    boxes = boxes + torch.randn(boxes.shape, generator=generator) * torch.tensor([1, 1, 1, 1, 0.02])
    boxes[:, 2:4] = boxes[:, 2:4].abs()
    scores = torch.randint(0, 30, (count,), generator=generator) / 30  # with many ties
    return boxes, scores, torch.randint(0, 3, (count,), generator=generator)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9])
def test_a_plain_loop(threshold, monkeypatch):
    boxes, scores, labels = detections(150, 0)
    matrix = rotated_iou_matrix(boxes, boxes)
    expected = loop(lambda i, k: matrix[i, k], scores, labels, threshold)
    assert 5 < len(expected) < 150
    for block in (1, 7, 512):
        monkeypatch.setattr(module, "_BLOCK", block)
        assert rotated_nms(boxes, scores, labels, threshold=threshold).tolist() == expected
        one = loop(lambda i, k: matrix[i, k], scores, [0] * 150, threshold)
        assert rotated_nms(boxes, scores, threshold=threshold).tolist() == one


def test_a_chain_alternates():
    """Each box suppresses only the next one, so every other one stays: the longest way to the final state."""
    chain = torch.zeros(700, 5)
    chain[:, 0], chain[:, 2:4] = torch.arange(700) * 4.0, 10.0
    assert rotated_nms(chain, torch.linspace(1, 0, 700), threshold=0.3).tolist() == list(range(0, 700, 2))


def test_equal_boxes_and_scores_keep_the_first_per_class():
    boxes = torch.tensor([[5.0, 5, 4, 2, 0.3]]).repeat(4, 1)
    assert rotated_nms(boxes, torch.ones(4), torch.tensor([0, 1, 0, 1]), threshold=0.5).tolist() == [0, 1]
    assert rotated_nms(boxes, torch.tensor([0.1, 0.4, 0.4, 0.2]), threshold=0.5).tolist() == [1]
    assert rotated_nms(boxes, torch.ones(4), threshold=1.0).tolist() == [0, 1, 2, 3]


def test_empty_and_invalid():
    none = torch.zeros(0, 5)
    assert rotated_nms(none, torch.zeros(0), torch.zeros(0, dtype=torch.int64), threshold=0.5).shape == (0,)
    boxes, scores, labels = detections(5, 1)
    for bad, value in (((0, 2), -1.0), ((1, 0), torch.nan), ((2, 4), torch.inf)):
        wrong = boxes.clone()
        wrong[bad] = value
        with pytest.raises(DataError, match="1 of 5 boxes have a negative side"):
            rotated_nms(wrong, scores, labels, threshold=0.5)
    with pytest.raises(DataError, match="not finite"):
        rotated_nms(boxes, scores.log() * torch.inf, labels, threshold=0.5)
    with pytest.raises(DataError, match=r"labels \(4,\)"):
        rotated_nms(boxes, scores, labels[:4], threshold=0.5)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(4))
def test_shapely_loop(seed):
    boxes, scores, labels = detections(400, seed)
    shapes = polygons(boxes)

    def iou(i: int, k: int) -> float:
        inter = shapes[i].intersection(shapes[k]).area
        return inter / (shapes[i].area + shapes[k].area - inter)

    expected = loop(iou, scores, labels, 0.3)
    assert rotated_nms(boxes, scores, labels, threshold=0.3).tolist() == expected
