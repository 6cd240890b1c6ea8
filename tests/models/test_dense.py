"""Test dense models: predictions in the original image size, averages over windows and views, the FPN baseline."""

import pytest
import torch
from mmengine.structures import PixelData
from torch import nn

from tests.helpers.dense import ATTO, First
from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.fpn import FPNNetwork
from vislab.structures import DataSample


class TestFPN(ModelBehavior):
    def build(self):
        return DepthEstimator(network=FPNNetwork(encoder=ATTO, width=16))

    def inputs(self, count):
        return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def samples(self, count):
        depth = torch.rand(count, 1, 64, 64, generator=torch.Generator().manual_seed(4)) * 9
        return [DataSample(gt_depth=PixelData(data=d)) for d in depth]


def test_prediction_has_the_size_of_the_original_without_the_padding():
    model = DepthEstimator(network=First(), max_depth=10)
    images = torch.zeros(2, 3, 32, 48)
    images[0, :, :20, :30] = 5  # the rest is padding
    samples = [
        DataSample(metainfo={"img_shape": (20, 30), "ori_shape": (40, 60)}),
        DataSample(metainfo={"img_shape": (32, 48), "ori_shape": (32, 48)}),
    ]
    first, second = model(images, samples, mode="predict")
    assert first.pred_depth.shape == (40, 60) and second.pred_depth.shape == (32, 48)
    assert torch.allclose(first.pred_depth.data, torch.full((1, 40, 60), 10 * torch.tensor(5.0).sigmoid().item()))
    assert first.inference == "whole"


def test_depth_is_clamped_and_labels_out_of_range_do_not_count():
    model = DepthEstimator(network=First(), max_depth=10, min_depth=0.5)
    images = torch.full((1, 3, 4, 4), -20.0)
    (sample,) = model(images, None, mode="predict")
    assert sample.pred_depth.data.min() == 0.5
    depth = torch.full((1, 4, 4), 5.0)
    depth[0, 0], depth[0, 1] = 12.0, 0.2
    loss = model(torch.zeros(1, 3, 4, 4), [DataSample(gt_depth=PixelData(data=depth))], mode="loss")["loss_depth"]
    assert loss.item() < 0.01  # sigmoid(0) * 10 = 5: right wherever it counts


def test_segmentation_votes_over_views():
    model = SemanticSegmentor(network=nn.Identity(), num_classes=3, inference={"flip": True})
    images = torch.rand(1, 3, 8, 8)
    (sample,) = model(images, None, mode="predict")
    assert torch.equal(sample.pred_sem_seg.data[0], images[0].argmax(0))


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="network.out_channels=3, but the task needs 1"):
        DepthEstimator(network={"type": FPNNetwork, "encoder": ATTO, "out_channels": 3})
    model = DepthEstimator(network=First())
    with pytest.raises(DataError, match="training needs gt_depth"):
        model(torch.rand(1, 3, 4, 4), [DataSample()], mode="loss")
    wrong = DataSample(gt_depth=PixelData(data=torch.ones(1, 8, 8)), metainfo={"img_path": "a.png"})
    with pytest.raises(DataError, match=r"gt_depth of a.png is \(8, 8\)"):
        model(torch.rand(1, 3, 4, 4), [wrong], mode="loss")
