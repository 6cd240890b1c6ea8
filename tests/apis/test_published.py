"""Test catalogue names as weights: converted once, loaded as a checkpoint, with the classes of their training."""

import pytest
import torch

from tests.helpers.cae_names import foreign_state
from vislab.apis import create_model, published
from vislab.apis.published import published_options, resolve_weights, same_classes, use_checkpoint_classes
from vislab.apis.training import training_config
from vislab.engine.config.source import shipped_configs
from vislab.errors import ConfigError
from vislab.io.checkpoint import load_checkpoint, save_weights
from vislab.zoo.catalogue import Entry, Weights
from vislab.zoo.pretrained import use_file

NAME = "cae_vit_cifar10_norm_pixel_cpu"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The model whose weights the catalogue has under NAME, in the layout of the official code."""
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = create_model(NAME, device="cpu")
    torch.save({"model": foreign_state(model, "official")}, tmp_path / "cae.pth")
    weights = Weights("", "", None, ("http://127.0.0.1:9/cae.pth",), "", "official", "none stated")
    entry = Entry(NAME, "CAE", shipped_configs()[NAME], (), (weights,))
    monkeypatch.setattr(published, "read_catalogue", lambda: {NAME: entry})
    use_file(entry, tmp_path / "cae.pth")
    return model


def test_published_weights_are_converted_once(model):
    path = resolve_weights(NAME)
    before = path.stat().st_mtime_ns
    found = load_checkpoint(path)["state_dict"]
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())
    assert resolve_weights(NAME) == path and path.stat().st_mtime_ns == before
    assert training_config(NAME, load_from=NAME).load_from == str(path)


def test_files_and_unknown_names(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").touch()
    for given in ("weights", "none.pth", "a/b", "$HOME"):
        assert resolve_weights(given) == given
    with pytest.raises(ConfigError, match=f"neither a file nor a name .*; did you mean '{NAME}'"):
        resolve_weights(NAME[:-1])


def test_options_belong_to_the_published_weights():
    name = "deformable_detr_r50_coco"
    assert published_options(name, None) == published_options(name, name) == {"model.num_classes": 91}
    assert published_options(name, "epoch_1.pth") == published_options(f"{name}.py", None) == {}
    assert published_options("deformable_detr_refine_r50_coco", name) == {}


def test_classes_of_a_checkpoint_in_a_dataset(tmp_path):
    save_weights({"w": torch.ones(1)}, tmp_path / "a.safetensors", {"dataset_meta": {"classes": ["N/A (0)", "cat"]}})
    inner = {"ann_file": "x"}
    use_checkpoint_classes({"dataset": inner}, tmp_path / "a.safetensors")
    assert inner["metainfo"] == {"classes": ["N/A (0)", "cat"]}
    own = {"metainfo": {"classes": ["dog"]}}
    use_checkpoint_classes(own, tmp_path / "a.safetensors")
    assert own == {"metainfo": {"classes": ["dog"]}}


def test_spellings():
    assert same_classes(["door, double door", "windowpane"], ("door", "window"))
    assert not same_classes(["wall", "sky"], ("sky", "wall"))
    assert not same_classes(["wall"], ("wall", "sky"))
