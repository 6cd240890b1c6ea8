"""Windows and views: averages over equal ones change nothing, and the order of averaging is kept."""

import pytest
import torch
from torch import nn

from tests.helpers.dense import First
from vislab.errors import ConfigError
from vislab.models.dense_inference import DenseInference


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


@pytest.mark.parametrize("stride", [3, 4, 7])
def test_windows_equal_a_loop_over_pixels(stride):
    """A network that adds to each window its own mean: a pixel's output is the mean over the windows it lies in."""
    images = torch.rand(1, 3, 7, 17)
    found = DenseInference(window=7, stride=stride)(lambda x: x[:, :1] + x.mean(), images, lambda raw: raw)
    starts = [*range(0, 10, stride), 10]  # the last window lies at the border
    for x in range(17):
        means = [images[..., s : s + 7].mean() for s in starts if s <= x < s + 7]
        torch.testing.assert_close(found[0, 0, :, x], images[0, 0, :, x] + sum(means) / len(means))


def test_reports_and_counts_of_views():
    inference = DenseInference(window=(512, 256), stride=100, flip=True, scales=(0.5, 1, 1.5))
    assert str(inference) == "slide 512x256/100x100, flip, scales 0.5 1 1.5" and inference.views == 6
    assert str(DenseInference(window=30)) == "slide 30x30/20x20" and DenseInference().views == 1
