"""Test that the rotated detector learns angles, also where they jump, and the export of its graph (slow)."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from tests.helpers.deformable_detr import DINO, images, small
from vislab.models.deformable_detr import DeformableDETR
from vislab.structures import DataSample
from vislab.structures.rotated_boxes import normalize, rboxes_to_corners

SIZE = (64, 96)
BOXES = [(48, 32, 40, 14, degrees) for degrees in (0, 1, 45, 89, 90, -60)] + [(40, 30, 24, 24, 0), (50, 34, 24, 24, 30)]


class Convolutions(nn.Module):
    """A small backbone with maps of stride 8 and 16."""

    channels = (32, 64)

    def __init__(self):
        super().__init__()
        widths = (3, 16, 32, 32)
        layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:], strict=False)]
        self.first = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1))

    def forward(self, x):
        first = self.first(x)
        return [first, self.second(first)]


def scene(box) -> tuple[torch.Tensor, DataSample]:
    """An image with one box, drawn with smooth edges, and its label."""
    rbox = torch.tensor([*box[:4], math.radians(box[4])])
    canvas = np.full((SIZE[0] * 8, SIZE[1] * 8, 3), 40, np.uint8)
    cv2.fillPoly(canvas, [(rboxes_to_corners(rbox).numpy() * 8).round().astype(np.int32)], (200, 180, 90))
    image = cv2.resize(canvas, SIZE[::-1], interpolation=cv2.INTER_AREA)
    sample = DataSample(metainfo={"img_shape": SIZE, "ori_shape": SIZE})
    sample.gt_instances = InstanceData(labels=torch.zeros(1, dtype=torch.int64), rbboxes=normalize(rbox)[None])
    return torch.from_numpy(image).permute(2, 0, 1) / 255 - 0.3, sample


@pytest.mark.slow
def test_angles_are_learned_within_a_degree():
    """Mean error modulo the symmetry of rectangles and squares, in images that are not square."""
    torch.manual_seed(0)
    pairs = [scene(box) for box in BOXES]
    inputs, samples = torch.stack([image for image, _ in pairs]), [sample for _, sample in pairs]
    layers = {"num_heads": 4, "ffn_dim": 128, "dropout": 0.0}
    model = DeformableDETR(
        backbone=Convolutions(), num_classes=1, num_queries=10, dim=64, num_levels=2, neck={"norm_groups": 8},
        box_refine=True, two_stage=True, learned_content=True, rotated=True, denoising={"num_queries": 20},
        encoder=layers | {"num_layers": 1}, decoder=layers | DINO | {"num_layers": 2},
    )  # fmt: skip
    steps, rate = 600, 2e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        loss = sum(model(inputs, samples, mode="loss").values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = model.eval()(inputs, [DataSample(metainfo=s.metainfo) for s in samples], mode="predict")
    errors = []
    for box, sample in zip(BOXES, found, strict=True):
        best = sample.pred_instances.rbboxes[0]
        assert (best[:4] - torch.tensor(box[:4])).abs().max() < 1.0
        period = 90 if box[2] == box[3] else 180
        errors.append(abs((math.degrees(best[4]) - box[4] + period / 2) % period - period / 2))
    assert sum(errors) / len(errors) <= 1.0, errors


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "rotated"])
def test_the_graph_can_be_exported(kind):
    model = small(kind).eval()

    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            outputs = self.model.forward_tensor(x)
            return outputs["logits"], outputs["boxes"]

    exported = torch.export.export(Raw(), (images(1),), strict=False).module()
    other = images(1).flip(-1)
    for found, expected in zip(exported(other), Raw()(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
