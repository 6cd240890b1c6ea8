"""Test heads: initial scores and boxes, and references with angles."""

import math

import torch

from vislab.models.deformable_detr.heads import DetectionHead, Detections


def test_initial_predictions():
    torch.manual_seed(0)
    head = DetectionHead(dim=16, num_classes=3, size_bias=-2.0)
    torch.testing.assert_close(head.classes.bias.sigmoid(), torch.full((3,), 0.01))
    assert head.boxes(torch.randn(2, 4, 16)).unique().tolist() == [-2, 0]
    assert head.angle_logits(torch.randn(2, 4, 16)) is None


def test_references_hold_the_most_likely_angle():
    logits = torch.zeros(1, 2, 180)
    logits[0, 0, 135] = logits[0, 1, 0] = 1
    found = Detections(torch.zeros(1, 2, 4), torch.zeros(1, 2, 3), torch.rand(1, 2, 4), logits)
    torch.testing.assert_close(found.references[0, :, 4], torch.tensor([math.radians(45.5), math.radians(-89.5)]))
    assert found[1:].references.shape == (1, 1, 5)
