"""Test ExportGraph: normalization in the graph, order of outputs, inputs for checks, and refusals."""

import pytest
import torch
from torch import nn

from vislab.errors import ConfigError, ExportError
from vislab.models.base import VisionModel
from vislab.models.export_graph import ExportGraph
from vislab.models.preprocessor import ImagePreprocessor

STATS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}


def graph(preprocessor: nn.Module | None, **settings) -> ExportGraph:
    outputs = {"second": "twice the input", "first": "the input"}
    run = lambda x: {"first": x, "second": 2 * x, "third": x}
    return ExportGraph([], run, task="test", outputs=outputs, preprocessor=preprocessor, **settings)


@pytest.mark.parametrize("settings", [STATS, {}], ids=["mean and std", "0 to 1"])
def test_images_are_normalized_as_by_the_preprocessor(settings):
    preprocessor = ImagePreprocessor(**settings)
    one = graph(preprocessor)
    images = one.example(2, (6, 9), seed=3)
    assert images.min() >= 0 and images.max() <= 255 and images.max() > 150
    assert torch.equal(images, images.round())
    assert torch.equal(images, one.example(2, (6, 9), seed=3)) and not torch.equal(images, one.example(2, (6, 9), 4))
    second, first = one(images)
    expected = preprocessor({"inputs": list(images.to(torch.uint8))})["inputs"]
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)
    assert torch.equal(second, 2 * first)


def test_other_inputs_than_images():
    one = graph(None, channels=5, stride=4)
    inputs = one.example(1, (8, 12), seed=0)
    assert inputs.shape == (1, 5, 2, 3) and torch.equal(one(inputs)[1], inputs)


def test_padding_to_multiples_is_a_divisor():
    assert graph(ImagePreprocessor(size_divisor=32)).divisor == 32
    assert graph(ImagePreprocessor(size_divisor=8), divisor=32).divisor == 32


def test_refusals():
    with pytest.raises(ConfigError, match="but the model has a Identity"):
        graph(nn.Identity())
    with pytest.raises(ExportError, match="Special has no export"):
        type("Special", (VisionModel,), {})().export_graph()
