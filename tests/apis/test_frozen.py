"""Test what a frozen dense model sees: distances with gradients, the input size of the pipeline, other models."""

import pytest
import torch
from mmengine.config import Config

from tests.helpers.redness import config as redness
from vislab.apis.frozen import FrozenDense
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import CenterCrop, LoadImage, PackInputs, Pad, Resize
from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.io.checkpoint import save_checkpoint
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.models.preprocessor import ImagePreprocessor
from vislab.registry import TRANSFORMS


class Channels(torch.nn.Module):
    """Returns channels of the images times 3, and keeps the images it was given."""

    def __init__(self, out_channels: int = 3):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.full((out_channels, 1, 1), 3.0))

    def forward(self, images):
        self.images = images
        return images[:, : len(self.gain)] * self.gain


def frozen(folder, kind=SemanticSegmentor, size=None, **options):
    steps = [{"type": LoadImage, "min_size": 8}, *([{"type": Resize, "size": size}] if size else [])]
    options = {"num_classes": 3} if kind is SemanticSegmentor else {"max_depth": 5.0}
    model = {"type": kind, "network": {"type": Channels}, **options}
    dataset = {"type": ImageFolder, "pipeline": [*steps, {"type": PackInputs}]}
    save_checkpoint({"state_dict": {"network.gain": torch.full(((3 if "num_classes" in options else 1), 1, 1), 3.0)}},
                    folder / "weights.pth")  # fmt: skip
    return FrozenDense(Config({"model": model, "test_dataloader": {"dataset": dataset}}), folder / "weights.pth")


@pytest.fixture
def images():
    return torch.rand(2, 2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_classes_differ_by_the_divergence_of_their_probabilities(tmp_path, images):
    one = frozen(tmp_path)
    a, b = images[0].requires_grad_(), images[1]
    found = one.distance(a, b)
    p, q = (3 * b).softmax(1).double(), (3 * a).softmax(1).double()
    assert found.item() == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-4)
    assert one.distance(b, b).item() == pytest.approx(0, abs=1e-7)
    found.backward()
    assert a.grad.abs().sum() > 0 and one.model.network.gain.grad is None
    same = (a.argmax(1) == b.argmax(1)).float().mean().item()
    assert one.measure(a, b) == {"same_class": pytest.approx(same)}


def test_depths_differ_by_their_logarithms(tmp_path, images):
    one = frozen(tmp_path, DepthEstimator)
    a, b = (5 * (3 * x[:, :1]).sigmoid().double() for x in images)
    assert one.distance(*images).item() == pytest.approx((a.log() - b.log()).square().mean().item(), rel=1e-4)
    assert one.measure(*images) == {"abs_rel": pytest.approx(((a - b).abs() / b).mean().item(), rel=1e-4)}


def test_the_network_gets_images_of_the_size_and_range_of_the_pipeline(tmp_path, images):
    one = frozen(tmp_path, size=(8, 12))
    one.distance(*images)
    assert one.model.network.images.shape == (2, 3, 8, 12)
    small = one.model.network.images
    assert (
        small.mean().item() == pytest.approx(images[0].mean().item(), abs=0.02) and 0 <= small.min() <= small.max() <= 1
    )


@pytest.mark.parametrize("step", [{"type": CenterCrop, "size": 12}, {"type": Pad, "size": (32, 48)}])
def test_pipelines_that_do_more_than_resize_are_refused(tmp_path, images, step):
    one = frozen(tmp_path)
    one.predictor.pipeline.transforms.insert(1, TRANSFORMS.build(step))
    with pytest.raises(DataError, match="task: frame went through (crop|pad) in the test pipeline"):
        one.distance(*images)


def test_normalization_is_that_of_the_preprocessor(tmp_path, images):
    one = frozen(tmp_path)
    one.model.data_preprocessor = ImagePreprocessor(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    one.outputs(images[0])
    assert torch.allclose(one.model.network.images, (images[0] - 0.5) / 0.25, atol=1e-5)


def test_the_identity_is_that_of_the_weights(tmp_path):
    one, other = frozen(tmp_path), frozen(tmp_path)
    assert one.identity() == other.identity()
    other.model.network.gain[0] = 4
    assert one.identity() != other.identity()


def test_other_models_and_missing_weights_are_refused(tmp_path):
    save_checkpoint({"state_dict": {"nothing": torch.zeros(1)}}, tmp_path / "weights.pth")
    with pytest.raises((ConfigError, CheckpointError)):
        FrozenDense(redness(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError):
        FrozenDense(redness(), tmp_path / "none.pth")
