"""Test the encoders and data of a probe: normalization of each kind of model, folders and archives, refusals."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import save_file

from tests.engine.test_features import write_images
from vislab.apis.probing_inputs import load_data, load_encoder
from vislab.errors import CheckpointError, ConfigError, DataError
from vislab.models.encoders.timm_models import ARCHITECTURE_KEY
from vislab.models.encoders.tokens import RawPixels

CLASSIFIER = {
    "type": "ImageClassifier",
    "name": "vit_tiny_patch16_224",
    "num_classes": 2,
    "img_size": 16,
    "model_args": {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2},
    "data_preprocessor": {"type": "ImagePreprocessor", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)},
}
SEGMENTOR = {
    "type": "SemanticSegmentor",
    "num_classes": 3,
    "network": {"type": "FPNNetwork", "encoder": {"name": "resnet10t"}},
    "data_preprocessor": {"type": "ImagePreprocessor", "size_divisor": 32},
}
BATCH = {"inputs": [torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)]}


def config(model: dict, **more) -> Config:
    return Config({"model": model, "default_scope": "vislab", **more})


def tree(folder: Path) -> Path:
    for split, count in (("train", 8), ("test", 4)):
        write_images(folder / "set" / split, count=count)
    return folder


def test_a_classifier_normalizes_as_in_its_training():
    found = load_encoder(config(CLASSIFIER))
    expected = (BATCH["inputs"][0] / 255 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
        [0.4, 0.5, 0.6]
    )[:, None, None]
    assert torch.allclose(found.preprocessor(BATCH)["inputs"][0], expected, atol=1e-5)
    assert found.side == 16 and found.name.startswith("network of") and "initial weights" in found.weights


def test_a_dense_model_normalizes_with_its_encoder():
    found = load_encoder(config(SEGMENTOR))
    inputs = found.preprocessor(BATCH)["inputs"]
    mean, std = (torch.tensor(x)[:, None, None] for x in (found.encoder.mean, found.encoder.std))
    assert torch.allclose(inputs[0], (BATCH["inputs"][0] / 255 - mean) / std, atol=1e-5)
    assert inputs.shape[-1] == 16 and found.side is None  # without padding to 32
    assert found.name.startswith("network.encoder of")


def test_seeds_give_initial_weights():
    state = torch.get_rng_state()
    weights = [load_encoder(config(CLASSIFIER), seed=s).encoder.patch_embed.proj.weight for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_timm_models_with_random_weights_or_a_file(tmp_path):
    found = load_encoder("resnet10t", random=True)
    assert found.side == 176 and found.weights == "random, seed 0" and found.name == "timm resnet10t"
    torch.save(found.encoder.state_dict(), tmp_path / "weights.pth")
    again = load_encoder("resnet10t", tmp_path / "weights.pth", seed=5)
    assert torch.equal(again.encoder.conv1[0].weight, found.encoder.conv1[0].weight)
    with pytest.raises(CheckpointError):
        load_encoder("resnet18", tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="no model 'resnet10x'.*nearest"):
        load_encoder("resnet10x")


def test_an_exported_encoder_normalizes_as_in_its_training(tmp_path):
    network = load_encoder("resnet10t", random=True).encoder
    facts = json.dumps({"num_heads": 0, "depth": 0, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    save_file(network.state_dict(), tmp_path / "weights.safetensors", {ARCHITECTURE_KEY: facts})
    found = load_encoder("resnet10t", tmp_path / "weights.safetensors").preprocessor.statistics
    assert found == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_raw_pixels():
    assert isinstance(load_encoder("pixels").encoder, RawPixels)
    with pytest.raises(ConfigError, match="neither weights nor parts"):
        load_encoder("pixels", "file.pth")


def test_a_shipped_config_by_its_name():
    with pytest.raises(ConfigError, match="random=True is for timm models; a config"):
        load_encoder("cae_vit_cifar10_norm_pixel_cpu", random=True)
    with pytest.raises(ConfigError, match="splits are folders of a path; the sets of a config"):
        load_data("cae_vit_cifar10_norm_pixel_cpu", None, splits=("a", "b"))


def test_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="choose one"):
        load_encoder("resnet10t", "file.pth", random=True)
    with pytest.raises(ConfigError, match="random=True is for timm"):
        load_encoder(config(CLASSIFIER), random=True)
    with pytest.raises(ConfigError, match="cfg_options apply to a config"):
        load_encoder("resnet10t", cfg_options={"a": 1})
    with pytest.raises(ConfigError, match="there is no config"):
        load_encoder(str(tmp_path / "absent.py"))


def test_folders_and_archives_are_found(tmp_path):
    tree(tmp_path)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    for place in (tmp_path / "set", tmp_path / "set.zip"):
        found = load_data(str(place), 16)
        assert (len(found.train), len(found.test)) == (
            16,
            8,
        ) and "16 training and 8 test images, 2 classes" in found.text
        assert found.train[0]["inputs"].shape == (3, 16, 16)
    whole = load_data(tmp_path / "set", 16, size=8, crop=0.5)
    assert whole.test[0]["inputs"].shape == (3, 8, 8) and whole.settings["crop"] == 0.5
    assert torch.equal(whole.test[0]["inputs"], load_data(tmp_path / "set", 16).test[0]["inputs"][:, 4:12, 4:12])


def test_fewer_images_are_evenly_spaced_over_the_classes(tmp_path):
    found = load_data(tree(tmp_path) / "set", 16, train=4, test=2)
    assert [int(found.train[i]["data_samples"].gt_label.label) for i in range(4)] == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match="train=17: the set has 16 images"):
        load_data(tmp_path / "set", 16, train=17)


def test_the_sets_of_a_config_use_the_pipeline_of_validation(tmp_path):
    tree(tmp_path)
    folder = {"type": "ImageFolder", "data_root": str(tmp_path / "set")}
    flip = [{"type": "LoadImage"}, {"type": "RandomFlip", "prob": 1.0}, {"type": "PackInputs"}]
    plain = [flip[0], flip[2]]
    cfg = config(
        CLASSIFIER,
        train_dataloader={"dataset": {**folder, "split": "train", "pipeline": flip}},
        val_dataloader={"dataset": {**folder, "split": "test", "pipeline": plain}},
    )
    found = load_data(cfg, None)
    direct = load_data(tmp_path / "set", 16)
    assert torch.equal(found.train[0]["inputs"], direct.train[0]["inputs"])
    assert load_data(cfg, None, size=8).train[0]["inputs"].shape == (3, 8, 8)
    with pytest.raises(ConfigError, match="splits are folders"):
        load_data(cfg, None, splits=("a", "b"))
    with pytest.raises(ConfigError, match="no train_dataloader and no val_dataloader"):
        load_data(config(CLASSIFIER), None)


def test_data_that_cannot_be_used_is_refused(tmp_path):
    tree(tmp_path)
    with pytest.raises(ConfigError, match="set the size of the images"):
        load_data(tmp_path / "set", None)
    with pytest.raises(ConfigError, match="crop=0"):
        load_data(tmp_path / "set", 16, crop=0)
    with pytest.raises(DataError, match="neither a folder"):
        load_data(tmp_path / "absent", 16)
    with pytest.raises(ConfigError, match="found none; there are test, test/cat"):
        load_data(write_images(tmp_path / "other/test", count=1).parent, 16)
    write_images(tmp_path / "set/test/bird", count=1)
    (tmp_path / "set/test/dog").rename(tmp_path / "set/test/fox")
    with pytest.raises(DataError, match="different classes"):
        load_data(tmp_path / "set", 16)


def test_two_pairs_need_a_choice(tmp_path):
    tree(tmp_path)
    write_images(tmp_path / "set2/train", count=3)
    write_images(tmp_path / "set2/val", count=2)
    with pytest.raises(ConfigError, match="several"):
        load_data(tmp_path, 16)
    assert len(load_data(tmp_path, 16, splits=("set2/train", "set2/val")).train) == 6
    with pytest.raises(ConfigError, match="expected two folders"):
        load_data(tmp_path, 16, splits=("set2/train",))
