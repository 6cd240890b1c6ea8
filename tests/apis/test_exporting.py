"""Test export: arguments, refusals, names, metadata, and what stays when something fails."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.helpers import CONFIGS, REPOSITORY
from vislab.apis import exporting
from vislab.apis.build import build_model, load
from vislab.apis.exporting import check_cases, check_dynamic, check_size, check_target, export, export_model
from vislab.errors import CheckpointError, ConfigError, ExportError
from vislab.models.classifier import BaseClassifier
from vislab.models.export_graph import ExportGraph
from vislab.models.preprocessor import ImagePreprocessor

CLASSIFIER = CONFIGS / "tract/cifar10_subset_vit_adam_cpu_plain.py"


def graph(**settings) -> ExportGraph:
    given = {"outputs": {"x": ""}, "preprocessor": ImagePreprocessor(), **settings}
    return ExportGraph([], lambda x: {"x": x}, task="test", **given)


class Small(BaseClassifier):
    """A classifier of one convolution."""

    def __init__(self) -> None:
        preprocessor = ImagePreprocessor(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
        super().__init__(num_classes=3, loss=None, mixup=None, data_preprocessor=preprocessor, init_cfg=None)
        self.conv = nn.Conv2d(3, 3, 5, 4)

    def compute_logits(self, inputs):
        return 9 * self.conv(inputs).mean((2, 3))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small classifier, and its file."""
    torch.manual_seed(0)
    model = Small().eval()
    out = tmp_path_factory.mktemp("export") / "new/model.onnx"
    classes = ["cat", "dog", "eel"]
    return model, export_model(model, out, size=(32, 48), classes=classes, facts={"config": "own"})


def test_outputs_of_the_file(exported):
    model, done = exported
    session = onnxruntime.InferenceSession(done.path)
    pixels = torch.randint(0, 256, (3, 3, 32, 48), dtype=torch.uint8)
    logits, scores = session.run(["logits", "scores"], {"images": pixels.numpy().astype(np.float32)})
    with torch.no_grad():
        expected = model.test_step({"inputs": list(pixels), "data_samples": None})
    own = torch.stack([sample.pred_label.score for sample in expected])
    assert np.abs(scores - own.numpy()).max() < 1e-5 and np.array_equal(logits.argmax(1), own.argmax(1).numpy())


def test_metadata_of_the_file(exported):
    _, done = exported
    facts = onnxruntime.InferenceSession(done.path).get_modelmeta().custom_metadata_map
    assert facts == done.metadata and facts["config"] == "own" and facts["task"] == "classification"
    found = {key: json.loads(facts[key]) for key in ("size", "classes", "dynamic", "mean", "outputs", "input")}
    assert found["size"] == [32, 48] and found["classes"] == ["cat", "dog", "eel"] and found["dynamic"] == ["batch"]
    assert found["mean"] == [0.5, 0.4, 0.3] and list(found["outputs"]) == ["logits", "scores"]
    assert re.fullmatch(r"\d+\.\d+.*", facts["vislab_version"]) and "0 to 255" in found["input"]["images"]
    assert [(d.batch, d.output) for d in done.differences][::2] == [(1, "logits"), (2, "logits"), (3, "logits")]
    assert done.largest.relative < 1e-5


def test_other_sizes_than_exported(exported):
    session = onnxruntime.InferenceSession(exported[1].path)
    with pytest.raises(Exception, match="Got: 64 Expected: 32"):
        session.run(None, {"images": np.zeros((1, 3, 64, 48), np.float32)})


def test_a_file_that_differs_is_not_written(exported, tmp_path):
    """The file that was there stays."""
    out = tmp_path / "model.pt2"
    out.write_bytes(b"before")
    with pytest.raises(ExportError, match="the exported model differs from the model: logits"):
        export_model(exported[0], out, format="torch", size=(32, 48), dynamic=(), tolerance=-1)
    assert out.read_bytes() == b"before" and os.listdir(tmp_path) == ["model.pt2"]


def test_the_example_of_the_docs(exported, tmp_path):
    """In a process that cannot import torch."""
    text = (REPOSITORY / "docs/export.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 15
    (tmp_path / "model.onnx").symlink_to(exported[1].path)
    np.save(tmp_path / "photo.npy", np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))
    blocked = "import sys; sys.modules.update(torch=None, vislab=None)\n"
    done = subprocess.run([sys.executable, "-c", blocked + example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"((cat|dog|eel): 0\.\d\d\n){3}", done.stdout)


@pytest.mark.parametrize(
    ("out", "format", "message"),
    [
        ("model.pth", "onnx", r"model.pth: files of --format onnx are named \*.onnx"),
        ("model.onnx", "torch", r"named \*.pt2"),
        ("model.onnx", "tflite", "format='tflite' is not one of onnx, torch"),
        ("folder.onnx", "onnx", "is a folder"),
        ("file/model.onnx", "onnx", "is a file; expected a folder"),
        ("/proc/none/model.onnx", "onnx", "cannot be written to"),
    ],
)
def test_files_that_cannot_be(tmp_path, out, format, message):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=message):
        check_target(tmp_path / out, format)


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ({}, None, "set --size HEIGHT WIDTH"),
        ({"divisor": 32}, (100, 64), "--size 100 64: sides must be multiples of 32, such as 96 64"),
        ({"divisor": 32}, (0, 64), "such as 32 64"),
        ({"stride": 80, "preprocessor": None}, (160, 321), "multiples of 80, such as 160 320"),
        ({"img_size": (32, 32)}, (64, 64), "--size 64 64: the model takes images of 32 32 only"),
    ],
)
def test_sizes_that_cannot_be(settings, size, message):
    with pytest.raises(ConfigError, match=message):
        check_size(graph(**settings), size)


def test_sizes():
    assert check_size(graph(divisor=32), (64, 96)) == (64, 96)
    assert check_size(graph(img_size=(32, 48)), None) == (32, 48)


def test_free_axes():
    assert check_dynamic(graph(any_size=True), ["size", "batch"]) == ("batch", "size")
    with pytest.raises(ConfigError, match="computed for one size"):
        check_dynamic(graph(), ["size"])
    with pytest.raises(ConfigError, match="--dynamic width: expected some of batch, size"):
        check_dynamic(graph(), ["width"])


def test_checked_inputs():
    one = graph(divisor=32)
    assert check_cases(one, (64, 96), ()) == [(1, (64, 96))] * 3
    assert check_cases(one, (64, 96), ("batch",)) == [(n, (64, 96)) for n in (1, 2, 3)]
    assert check_cases(one, (128, 96), ("batch", "size")) == [(1, (128, 96)), (2, (160, 96)), (3, (96, 160))]


def test_exits_are_for_models_that_have_some(exported):
    with pytest.raises(ConfigError, match="--exit 2: Small has no exits"):
        exporting.export_graph(exported[0], 2)


@pytest.mark.parametrize(
    ("config", "checkpoint", "error", "message"),
    [
        (CLASSIFIER, None, CheckpointError, "needs weights: pass a checkpoint"),
        (CLASSIFIER, "none.pth", CheckpointError, "none.pth"),
        ("mask2former_swin_t_coco_panoptc", None, ConfigError, "did you mean 'mask2former_swin_t_coco_panoptic'"),
        ("none.py", "none.pth", ConfigError, "none.py"),
    ],
)
def test_missing_files(tmp_path, config, checkpoint, error, message):
    with pytest.raises(error, match=message):
        export(config, checkpoint, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_config_with_a_checkpoint(tmp_path, monkeypatch):
    """Weights and class names of the checkpoint, and names of the files, reach `export_model`."""
    model = build_model(load(CLASSIFIER), device="cpu")
    classes = tuple("abcdefghij")
    torch.save({"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": classes}}}, tmp_path / "e.pth")
    seen = {}
    monkeypatch.setattr(exporting, "export_model", lambda model, path, **given: seen.update(given, model=model))
    export(CLASSIFIER, tmp_path / "e.pth", tmp_path / "model.onnx", size=(32, 32))
    assert seen["size"] == (32, 32) and seen["classes"] == classes
    assert seen["facts"] == {"config": CLASSIFIER.stem, "checkpoint": "e.pth"}
    pairs = zip(seen["model"].state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ("hnerv/hnerv_bunny_160x320_cpu.py", (160, 320)),
        ("hnerv/hnerv_bunny_640x1280_3m.py", (640, 1280)),
        ("cae/cae_vit_cifar10_norm_pixel_cpu.py", (32, 32)),
        ("tract/imagenet_resnet50_30ep_plain.py", (224, 224)),
        ("eco_m2f/mask2former_swin_t_coco_panoptic.py", None),
    ],
)
def test_size_of_a_config(config, size):
    assert exporting._configured_size(load(CONFIGS / config)) == size
