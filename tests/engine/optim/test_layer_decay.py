"""Test that layer-wise learning rates are equal to timm's at any position of the encoder in a model."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor, Rules
from vislab.errors import ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder


class Detector(nn.Module):
    """An encoder two levels down, and parts beside it."""

    def __init__(self, name):
        super().__init__()
        self.body = nn.Module()
        self.body.encoder = TimmEncoder(name=name)
        self.neck = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
        self.necklace = nn.Linear(2, 2)


def build(model, **paramwise):
    cfg = {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.1, "weight_decay": 0.05}}
    return LayerDecayOptimConstructor(cfg, paramwise)(model).optimizer


def settings(optimizer, model):
    """parameter name -> (lr, weight decay), each parameter in exactly one group."""
    names = {p: n for n, p in model.named_parameters()}
    found = [(names[p], (g["lr"], g["weight_decay"])) for g in optimizer.param_groups for p in g["params"]]
    assert len(found) == len(dict(found)) == sum(p.requires_grad for p in model.parameters())
    return dict(found)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "resnet18"])
def test_equals_timm(name):
    model = Detector(name)
    ours = settings(build(model, layer_decay=0.7), model)
    whole = timm.create_model(name)
    exempt = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    groups = param_groups_layer_decay(whole, weight_decay=0.05, no_weight_decay_list=exempt, layer_decay=0.7)
    names = {p: n for n, p in whole.named_parameters()}
    compared = 0
    for group in groups:
        for parameter in group["params"]:
            key = f"body.encoder.model.{names[parameter]}"
            if key in ours:
                assert ours[key] == pytest.approx((0.1 * group["lr_scale"], group["weight_decay"])), key
                compared += 1
    assert compared == sum(k.startswith("body.") for k in ours) > 50
    assert ours["neck.0.weight"] == (0.1, 0.05) and ours["neck.1.weight"] == (0.1, 0.0)


def test_factors_frozen_parts_and_full_decay():
    model = Detector("resnet18")
    model.body.encoder.model.conv1.weight.requires_grad_(False)
    ours = settings(build(model, layer_decay=1.0, no_decay_norm_bias=False, lr_mult={"neck": 10, "neck.1": 2}), model)
    assert ours["neck.0.weight"] == (1.0, 0.05) and ours["neck.1.weight"] == (0.2, 0.05)
    assert ours["necklace.weight"] == (0.1, 0.05)  # "neck" is a whole part of a name, not any beginning
    assert {v for k, v in ours.items() if k.startswith("body")} == {(0.1, 0.05)}


def test_groups_are_few_and_follow_a_schedule():
    optimizer = build(Detector("vit_tiny_patch16_224"))
    assert len(optimizer.param_groups) == 2 * (12 + 2)
    before = [g["lr"] for g in optimizer.param_groups]
    from mmengine.optim import ConstantLR

    ConstantLR(optimizer, factor=0.5)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([lr / 2 for lr in before])


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="layer_deacy.*takes layer_decay"):
        build(Detector("resnet18"), layer_deacy=0.5)
    with pytest.raises(ConfigError, match=r"not in \(0, 1\]"):
        build(Detector("resnet18"), layer_decay=1.5)
    with pytest.raises(ConfigError, match="no parameter begins with 'nekc'"):
        build(Detector("resnet18"), lr_mult={"nekc": 2})
    with pytest.raises(ConfigError, match="TimmEncoder"):
        build(torch.nn.Linear(2, 2))


def test_biases_may_decay_without_the_norms():
    model = Detector("resnet18")
    ours = settings(build(model, layer_decay=1.0, decay_bias=True), model)
    assert {ours[f"neck.0.{kind}"][1] for kind in ("weight", "bias")} == {0.05}
    assert {ours[f"neck.1.{kind}"][1] for kind in ("weight", "bias")} == {0.0}
    assert ours["body.encoder.model.bn1.bias"] == (0.1, 0.0)


def test_a_star_matches_any_text():
    model = nn.ModuleDict({name: nn.ModuleDict({k: nn.Linear(2, 2) for k in ("offsets", "other")}) for name in "ab"})
    groups = Rules(layer_decay=1.0, lr_mult={"*.offsets": 0.1, "a": 3.0}).groups(model, lr=1.0, weight_decay=0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert rates["b.offsets.weight"] == rates["a.offsets.bias"] == pytest.approx(0.1)
    assert rates["a.other.weight"] == 3 and rates["b.other.weight"] == 1
