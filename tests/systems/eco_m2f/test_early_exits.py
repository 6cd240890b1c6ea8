"""Test exits, gate and losses on a model without network: each layer adds one to a number."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from vislab.errors import ConfigError
from vislab.structures import DataSample
from vislab.systems.eco_m2f.early_exits import EarlyExits, with_depths

EXITS = (1, 2, 4)


class Counter(EarlyExits):
    """The gate sees the first token of an image, (B, 1)."""

    def __init__(self, **changes) -> None:
        super().__init__()
        settings = {"exits": EXITS, "exit_mode": "sample", "alpha": "linear", "policy": "full", "depth_penalty": 0.0}
        self.add_exits(num_layers=4, dim=1, **({"histogram": None} | settings | changes))

    def gate_features(self, state) -> Tensor:
        return state.tokens[:, 0]

    def losses(self, num_layers: int | None = None) -> dict[str, float]:
        found = self.exit_losses(
            lambda k: torch.tensor(float(k)),
            lambda exits: ((k, torch.tensor(float(k))) for k in exits),
            lambda layers: {"loss_a": layers, "loss_b": 10 * layers},
            num_layers,
        )
        return {name: value.item() for name, value in found.items()}


def state(*values: float) -> SimpleNamespace:
    return SimpleNamespace(tokens=torch.tensor(values, dtype=torch.float).view(-1, 1, 1))


def test_losses_are_weighted_by_the_exit():
    model = Counter()
    assert model.losses() == {"loss_a": 4 * 4, "loss_b": 4 * 40}  # without the hook: all layers
    model.train_exit = 2
    assert model.losses() == {"loss_a": 2 * 2, "loss_b": 2 * 20}
    assert model.losses(1) == {"loss_a": 1, "loss_b": 10}
    assert Counter(exit_mode="full").losses() == {"loss_a": 4, "loss_b": 40}
    assert Counter(alpha="quadratic").losses(4)["loss_a"] == pytest.approx(4 * 1.6)
    everything = Counter(exit_mode="all", alpha="constant").losses()
    assert everything["e4.loss_b"] == pytest.approx(40 / 3) and len(everything) == 6


@torch.no_grad()
def test_the_gate_and_its_depth_penalty():
    model = Counter(policy="gate")
    model.gate.weight.copy_(torch.tensor([[-5.0], [0.0], [5.0]]))
    assert model.choose(state(-1, 1)) == [1, 4]
    model.gate.weight.zero_()
    assert model.choose(state(-1, 1)) == [1, 1]  # the first of equals
    model.depth_penalty = -1.0
    assert model.choose(state(-1, 1)) == [4, 4]


def test_other_policies_and_given_numbers():
    model = Counter(policy=2)
    assert model.choose(state(0, 0)) == [2, 2] and model.depths(state(0, 0), None, None) == [2, 2]
    assert model.depths(state(0, 0), None, torch.tensor([1, 4])) == [1, 4]
    assert model.depths(state(0, 0), None, 3) == [3, 3]
    model.set_policy("random", (0, 1, 0))
    assert model.choose(state(0)) == [2]
    model.set_policy("oracle")
    with pytest.raises(ConfigError, match="Counter: policy='oracle' needs data_samples with metainfo best_exit"):
        model.choose(state(0))
    samples = with_depths([DataSample(metainfo={"best_exit": 4})], [4])
    assert model.choose(state(0), samples) == [4] and samples[0].num_layers == 4


def test_exported_exit():
    assert Counter().exported_exit(None) is None and Counter(policy=2).exported_exit(None) == 2
    with pytest.raises(ConfigError, match="Counter: policy='gate' chooses an exit for each image"):
        Counter(policy="gate").exported_exit(None)
    with pytest.raises(ConfigError, match="--exit 3 is not one of the exits"):
        Counter().exported_exit(3)
