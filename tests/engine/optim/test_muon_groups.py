"""Test which parameters MuonOptimConstructor gives to Muon and to Adam, with their rates, and what it refuses."""

import pytest
import torch
from torch import nn

from vislab.engine.optim.muon import Muon
from vislab.engine.optim.muon_groups import MuonOptimConstructor
from vislab.errors import ConfigError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4 * s * s, 3), nn.PixelShuffle(s), nn.GELU()) for s in (3, 2)
        )
        self.plain = nn.Sequential(nn.Conv2d(4, 8, 1), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 8))
        self.token = nn.Parameter(torch.zeros(1, 3, 4))
        self.stage = nn.Linear(2, 2)  # "stages" is a whole part of a name


def build(model, optimizer=None, **paramwise):
    cfg = {
        "type": "OptimWrapper",
        "optimizer": {"type": Muon, "lr": 0.02, "adam_lr": 1e-3, "weight_decay": 0.1, **(optimizer or {})},
    }
    return MuonOptimConstructor(cfg, paramwise)(model).optimizer


def settings(optimizer, model):
    names = {p: n for n, p in model.named_parameters()}
    found = {names[p]: g for g in optimizer.param_groups for p in g["params"]}
    assert len(found) == sum(p.requires_grad for p in model.parameters())
    return found


def test_chosen_weights_and_splits():
    model = Net()
    found = settings(build(model, matrices=["stages", "plain"], exclude=["plain.0"]), model)
    muon = {name: group["split"] for name, group in found.items() if group["method"] == "muon"}
    assert muon == {"stages.0.0.weight": 9, "stages.1.0.weight": 4, "plain.3.weight": 1}
    assert found["plain.3.weight"]["lr"] == 0.02 and found["plain.3.weight"]["weight_decay"] == 0.1
    assert found["plain.0.weight"]["lr"] == 1e-3 and found["token"]["method"] == "adam"
    assert found["stages.0.0.bias"]["weight_decay"] == 0.0


def test_rates_of_parts_and_whole_matrices():
    model = Net()
    model.stages[1][0].weight.requires_grad_(False)
    rules = {"matrices": ["stages"], "split_pixel_shuffle": False, "lr_mult": {"stages": 0.5, "token": 3.0}}
    found = settings(build(model, **rules), model)
    assert found["stages.0.0.weight"]["split"] == 1 and found["stages.0.0.weight"]["lr"] == 0.01
    assert found["token"]["lr"] == pytest.approx(3e-3) and "stages.1.0.weight" not in found


@pytest.mark.parametrize(
    "paramwise, optimizer, message",
    [
        ({"matrices": ["stagse"]}, {}, "no parameter begins with 'stagse'.*did you mean"),
        ({"matrices": ["stages"], "exclude": ["plane"]}, {}, "exclude: no parameter begins with 'plane'"),
        ({"matrices": ["token"]}, {}, "'token' has no trained weight"),
        ({"matrices": ["plain.2"]}, {}, "'plain.2' has no trained weight"),
        ({"matrices": "stages"}, {}, "should be lists"),
        ({"matrices": []}, {}, "should be lists"),
        ({}, {}, "matrices"),
        ({"matrices": ["stages"], "spilt": 2}, {}, "spilt.*it takes matrices, exclude"),
    ],
)
def test_mistakes_are_named(paramwise, optimizer, message):
    with pytest.raises(ConfigError, match=message):
        build(Net(), optimizer, **paramwise)


def test_other_optimizers_are_refused():
    cfg = {"type": "OptimWrapper", "optimizer": {"type": "Adam", "lr": 0.1}}
    with pytest.raises(ConfigError, match="set type=Muon and both rates"):
        MuonOptimConstructor(cfg, {"matrices": ["stages"]})(Net())
