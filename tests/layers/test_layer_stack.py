"""Test stacks of layers that stop after another number of layers for each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vislab.layers.layer_stack import run_layers, walk_layers


@dataclass(frozen=True)
class State:
    """Tokens (B, 2, 1), and a factor per image (B,)."""

    tokens: Tensor
    factors: Tensor

    def rows(self, rows: Tensor) -> "State":
        return State(self.tokens[rows], self.factors[rows])


def layer(state: State, index: int) -> State:
    """Add factor * 10^index."""
    return State(state.tokens + state.factors[:, None, None] * 10**index, state.factors)


def start() -> State:
    return State(torch.zeros(3, 2, 1), torch.tensor([1.0, 2.0, 3.0]))


def test_each_image_has_its_own_number_of_layers():
    found = run_layers(start(), layer, [3, 1, 2])
    assert found.tokens[:, 0, 0].tolist() == [111, 2, 33]
    assert found.factors.tolist() == [1, 2, 3]
    assert run_layers(start(), layer, 2).tokens[:, 0, 0].tolist() == [11, 22, 33]
    assert run_layers(start(), layer, [2, 2, 2]).tokens[:, 0, 0].tolist() == [11, 22, 33]


def test_walking_runs_each_layer_once():
    calls = []
    counted = lambda state, index: calls.append(index) or layer(state, index)
    found = {k: state.tokens[0, 0, 0].item() for k, state in walk_layers(start(), counted, (3, 1))}
    assert found == {1: 1, 3: 111} and calls == [0, 1, 2]
