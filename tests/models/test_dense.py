"""Dense tasks: predictions come back to the original image, windows and views are averaged right, the FPN control."""

import pytest
import torch
from mmengine.structures import PixelData
from torch import nn

from tests.helpers.model_behavior import ModelBehavior
from vislab.errors import ConfigError, DataError
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.dense_inference import DenseInference
from vislab.models.fpn import FPNNetwork
from vislab.structures import DataSample

ATTO = {"name": "convnext_atto", "model_args": {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}}


class TestFPN(ModelBehavior):
    def build(self):
        return DepthEstimator(network=FPNNetwork(encoder=ATTO, width=16))

    def inputs(self, count):
        return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def samples(self, count):
        depth = torch.rand(count, 1, 64, 64, generator=torch.Generator().manual_seed(4)) * 9
        return [DataSample(gt_depth=PixelData(data=d)) for d in depth]


class First(nn.Module):
    """A network that gives the first channel: what comes out is known."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        return images[:, :1]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["fpn", "linear"])
def test_fpn_takes_any_size(kind):
    network = FPNNetwork(encoder=ATTO, out_channels=2, kind=kind, width=8).eval()
    assert network(torch.rand(1, 3, 75, 101)).shape == (1, 2, 75, 101)
    vit = {"name": "vit_tiny_patch16_224", "model_args": {"depth": 4, "embed_dim": 48, "num_heads": 2}}
    assert FPNNetwork(encoder=vit, kind=kind, width=8).eval()(torch.rand(1, 3, 40, 50)).shape == (1, 1, 40, 50)
    with pytest.raises(ConfigError, match="kind='deep'"):
        FPNNetwork(encoder=ATTO, kind="deep")


@pytest.mark.parametrize("size", [(40, 50), (17, 61), (10, 10)])
@pytest.mark.parametrize("options", [{"window": 16}, {"window": (16, 24), "stride": (5, 24)}, {"flip": True}, {}])
def test_averages_of_equal_views_change_nothing(size, options):
    network, images = First(), torch.rand(2, 3, *size)
    output = DenseInference(**options)(network, images, lambda raw: raw)
    assert torch.allclose(output, images[:, :1], atol=1e-6)
    if "window" in options and min(size) > 16:
        rows, columns = network.sizes[0]
        assert rows == 16 and columns in (16, 24) and len(set(network.sizes)) == 1


def test_views_are_averaged_after_activation():
    network, images = First(), torch.rand(1, 3, 32, 32)
    inference = DenseInference(flip=True, scales=(0.5, 1.0))
    output = inference(network, images, torch.exp)
    assert network.sizes == [(16, 16)] * 2 + [(32, 32)] * 2 and str(inference) == "whole, flip, scales 0.5 1"
    half = nn.functional.interpolate(images, size=(16, 16), mode="bilinear", align_corners=False)
    back = nn.functional.interpolate(half[:, :1], size=(32, 32), mode="bilinear", align_corners=False)
    assert torch.allclose(output, (back.exp() + images[:, :1].exp()) / 2, atol=1e-5)


@pytest.mark.parametrize("options", [{"stride": 4}, {"window": 8, "stride": 9}, {"scales": ()}, {"window": (1, 2, 3)}])
def test_wrong_inference_is_refused(options):
    with pytest.raises(ConfigError, match="DenseInference"):
        DenseInference(**options)


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
