"""Test exits, gate and losses on a model without network: each layer adds one to a number."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from vislab.errors import ConfigError
from vislab.structures import DataSample
from vislab.systems.eco_m2f.early_exits import EarlyExits

EXITS = (1, 2, 4)


class Counter(EarlyExits):
    """Tokens are (B, 1, 1) images, to which the layers add one each; the gate sees the token."""

    def __init__(self, **changes) -> None:
        super().__init__()
        settings = {"exits": EXITS, "exit_mode": "sample", "alpha": "linear", "policy": "full", "depth_penalty": 0.0}
        self.add_exits(num_layers=4, dim=1, **({"histogram": None} | settings | changes))

    def start(self, inputs, samples):
        return inputs, SimpleNamespace(tokens=inputs)

    def encode_layers(self, state, num_layers):
        added = num_layers if isinstance(num_layers, int) else torch.tensor(num_layers).view(-1, 1, 1)
        return state.tokens + added

    def walk(self, state, exits):
        return ((k, state.tokens + k) for k in exits)

    def gate_features(self, state) -> Tensor:
        return state.tokens[:, 0]

    def outputs(self, context, encoded):
        return {"added": (encoded - context).flatten()}

    def targets(self, samples, inputs):
        return None

    def loss(self, context, encoded, targets):
        layers = (encoded - context).mean()
        return {"loss_a": layers, "loss_b": 10 * layers}

    def predict(self, context, encoded, inputs, samples):
        for sample, added in zip(samples, (encoded - context).flatten().tolist(), strict=True):
            sample.set_metainfo({"added": added})
        return samples

    def losses(self, num_layers: int | None = None) -> dict[str, float]:
        found = self(torch.zeros(2, 1, 1), mode="loss", num_layers=num_layers)
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
    sample = DataSample(metainfo={"best_exit": 4})
    assert model.choose(state(0), [sample]) == [4]
    (sample,) = model(torch.zeros(1, 1, 1), [sample], mode="predict")
    assert sample.num_layers == sample.added == 4


def test_outputs_are_those_of_the_given_numbers():
    found = Counter()(torch.rand(2, 1, 1), num_layers=torch.tensor([1, 3]))
    assert found["num_layers"].tolist() == [1, 3] and found["added"].tolist() == pytest.approx([1, 3])


def test_all_exits_of_an_image():
    sample = DataSample(metainfo={"name": "a"})
    features, predicted = Counter().predict_exits(torch.full((1, 1, 1), 5.0), [sample])
    assert features.tolist() == [[5]] and [samples[0].added for samples in predicted] == [1, 2, 4]
    assert "added" not in sample


def test_exported_exits_are_checked():
    with pytest.raises(ConfigError, match="Counter: policy='gate' chooses an exit for each image"):
        Counter(policy="gate").export_graph()
    with pytest.raises(ConfigError, match="--exit 3 is not one of the exits"):
        Counter().export_graph(3)
