"""Test models by name: lists, random and given weights, names without weights."""

import pytest
import torch

import vislab
from vislab.apis.models import create_model, list_models
from vislab.errors import ConfigError


def test_names():
    names = list_models()
    assert names == sorted(names) and "hnerv_bunny_160x320_cpu" in names and "mask2former_swin_t_coco_panoptic" in names
    swin = list_models("mask2former_swin_?_coco_panoptic", pretrained=True)
    assert swin == [f"mask2former_swin_{size}_coco_panoptic" for size in "blst"]
    assert "hnerv_bunny_160x320_cpu" not in list_models(pretrained=True) and list_models("nothing*") == []


def test_weights_are_random_or_those_of_a_file(tmp_path):
    name = "cifar10_subset_resnet_sgd_cpu_plain"
    first = create_model(name, device="cpu")
    assert not first.training and len({p.device.type for p in first.parameters()}) == 1
    torch.save({"state_dict": first.state_dict()}, tmp_path / "w.pth")
    second = create_model(name, tmp_path / "w.pth", device="cpu")
    third = create_model(name, device="cpu")
    weights = [next(model.parameters()) for model in (first, second, third)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_no_weights_are_fetched_for_a_random_model(monkeypatch):
    """The config has those of the encoder, from a file that is not there."""
    monkeypatch.setenv("VISLAB_DATA", "/nowhere")
    assert not create_model("fpn_lite0_camvid", device="cpu").training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hnerv_bunny_160x320_cpu", "no weights of hnerv_bunny_160x320_cpu are published"),
        ("mask2former_swin_t_coco_panoptik", "did you mean 'mask2former_swin_t_coco_panoptic'"),
        ("folder/config.py", "not a name"),
    ],
)
def test_names_without_published_weights_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        create_model(name, pretrained=True)


def test_the_package_has_them_too():
    assert vislab.create_model is create_model and set(vislab.__all__) <= set(dir(vislab))
    with pytest.raises(AttributeError, match="creat_model"):
        vislab.creat_model  # noqa: B018
