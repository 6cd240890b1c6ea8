"""Test that initial weights are left out where a checkpoint follows, and what their files state is not guessed."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from vislab.errors import CheckpointError
from vislab.models.classifier import ImageClassifier
from vislab.models.encoders.initial_weights import are_loaded, initial_weights
from vislab.models.encoders.pyramid import PyramidEncoder
from vislab.models.encoders.timm_encoder import TimmEncoder

TINY = "vit_tiny_patch16_224"


@pytest.fixture
def skipped():
    with initial_weights(load=False):
        yield


def test_the_setting_ends_with_its_block():
    with pytest.raises(ValueError, match="inside"), initial_weights(load=False):
        with initial_weights(load=True):
            assert not are_loaded()  # a checkpoint follows all the same
        raise ValueError("inside")
    assert are_loaded()
    with pytest.raises(CheckpointError, match="gone.pth"):
        TimmEncoder(name="resnet18", pretrained="gone.pth")


@pytest.mark.parametrize("given", [True, "$UNSET_VARIABLE/weights.pth", "gone.safetensors"])
def test_nothing_is_downloaded_and_no_file_needed(skipped, monkeypatch, given):
    create, asked = timm.create_model, []
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append(k["pretrained"]) or create(*a, **k))
    encoder = TimmEncoder(name="tf_efficientnet_lite0", pretrained=given)
    ImageClassifier(name="tf_efficientnet_lite0", num_classes=3, pretrained=given)
    assert set(asked) == {False}
    assert encoder.mean == tuple(timm.get_pretrained_cfg("tf_efficientnet_lite0").mean)


def test_statistics_of_a_missing_encoder_are_not_guessed(skipped, tmp_path):
    """An exported encoder states those of its pre-training, which are in no checkpoint."""
    path = tmp_path / "encoder.safetensors"
    encoder = PyramidEncoder(encoder={"name": TINY, "pretrained": str(path), "model_args": {"depth": 4}})
    for which in ("mean", "std"):
        with pytest.raises(CheckpointError, match=r"encoder\.safetensors is missing.*pretrained=False"):
            getattr(encoder, which)
    with pytest.raises(CheckpointError, match="is missing"):
        TimmEncoder(name=TINY, pretrained=str(path), normalize=True)
    facts = {"num_heads": 3, "depth": 12, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}
    save_file({"cls_token": torch.ones(1, 1, 192)}, str(path), metadata={"vislab_encoder": json.dumps(facts)})
    found = TimmEncoder(name=TINY, pretrained=str(path))
    assert found.mean == (0.1, 0.2, 0.3) and not torch.equal(found.model.cls_token, torch.ones(1, 1, 192))
