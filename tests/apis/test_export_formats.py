"""Test tracing and the bytes of ONNX and torch.export files: free axes, other sizes, choices, what the file tells."""

import io
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from timm.layers import create_conv2d
from torch import nn

from tests.helpers import REPOSITORY
from vislab.apis.export_formats import METADATA_FILE, to_onnx, to_torch, trace
from vislab.errors import ExportError
from vislab.models.export_graph import ExportGraph
from vislab.models.preprocessor import ImagePreprocessor
from vislab.ops.choices import largest


class Halved(nn.Module):
    """Maps at half the size, and the larger of two channels."""

    def __init__(self, *, batch_of_two: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 2, 2)
        self.batch_of_two = batch_of_two

    def forward(self, images):
        maps = self.conv(images)
        if self.batch_of_two:
            maps = maps + torch.zeros(len(images), 1, 1, 1)
        return {"maps": maps, "labels": largest(maps, dim=1)}


class Padded(nn.Module):
    """Convolutions with timm's SAME padding."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(create_conv2d(3, 3, kernel, stride=2, padding="same") for kernel in (3, 5)))

    def forward(self, images):
        maps = self.convs(images)
        return {"maps": maps, "labels": maps.argmax(1)}


def graph(kind: type[nn.Module] = Halved, *, divisor: int = 2, **settings) -> ExportGraph:
    torch.manual_seed(0)
    network = kind(**settings)
    outputs = {"maps": "(batch, 2, h, w)", "labels": "(batch, h, w)"}
    preprocessor = ImagePreprocessor(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    found = ExportGraph([network], network, task="test", outputs=outputs, preprocessor=preprocessor, divisor=divisor)
    return found.eval()


@pytest.fixture(scope="module")
def onnx_file():
    """A file with free axes, and the function that runs it with its choices."""
    one = graph()
    run, finish = to_onnx(trace(one, (8, 12), ("batch", "size"), "onnx"), one, {"task": "test"})
    return one, run, finish()


def test_onnx_outputs_and_choices(onnx_file):
    one, run, content = onnx_file
    images = one.example(3, (6, 10), seed=0)
    maps, labels, choice = run(images.numpy())
    expected = one(images)
    torch.testing.assert_close(torch.from_numpy(maps), expected[0], rtol=0, atol=1e-5)
    assert np.array_equal(labels, expected[1].numpy()) and np.array_equal(choice, labels)
    session = onnxruntime.InferenceSession(content)
    assert [x.name for x in session.get_outputs()] == ["maps", "labels"]
    assert np.array_equal(session.run(["labels"], {"images": images.numpy()})[0], labels)
    assert session.get_modelmeta().custom_metadata_map == {"task": "test"}


def test_onnx_axes_are_named_and_checked(onnx_file):
    _, _, content = onnx_file
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options)
    assert session.get_inputs()[0].shape == ["batch", 3, "2*height", "2*width"]
    assert session.get_outputs()[0].shape == ["batch", 2, "height", "width"]
    for shape in ((1, 3, 7, 10), (1, 3, 6, 11)):  # no multiples of 2: the convolution would drop a row
        with pytest.raises(Exception, match="Reshape"):
            session.run(None, {"images": np.zeros(shape, np.float32)})


def test_onnx_has_no_paths_of_this_computer(onnx_file):
    _, _, content = onnx_file
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert str(REPOSITORY).encode() not in content and b"site-packages" not in content and b"vislab/" not in content


def test_torch_file():
    one = graph()
    programs = [trace(one, (8, 12), ("batch",), "torch", record=record) for record in (True, False)]
    run, finish = to_torch(*programs, one, {"task": "test"})
    images = one.example(3, (8, 12), seed=0)
    assert len(run(images.numpy())) == 3
    facts = {METADATA_FILE: ""}
    module = torch.export.load(io.BytesIO(finish()), extra_files=facts).module()
    outputs = module(images)
    assert list(outputs) == ["maps", "labels"] and json.loads(facts[METADATA_FILE]) == {"task": "test"}
    assert all(torch.equal(outputs[name], own) for name, own in zip(one.outputs, one(images), strict=True))
    with pytest.raises(Exception, match="== 12"):
        module(one.example(3, (8, 14), seed=0))


@pytest.mark.parametrize("size", [(16, 24), (24, 12)])
def test_same_padding_of_free_sizes_is_constant(size):
    one = graph(Padded, divisor=4)
    program = trace(one, (16, 24), ("size",), "torch", record=False)
    assert not [node for node in program.graph.nodes if "max" in node.name and node.name != "argmax"]
    images = one.example(1, size, seed=0)
    assert torch.equal(program.module()(images)["maps"], one(images)[0])


def test_models_that_cannot_be_traced():
    with pytest.raises(ExportError, match="cannot be traced with free batch: .*batch"):
        trace(graph(batch_of_two=True), (8, 12), ("batch",), "torch")
    assert trace(graph(batch_of_two=True), (8, 12), (), "torch") is not None
