"""Test that a frozen network is used, moved and copied, but neither trained nor saved."""

import copy

import torch
from torch import nn

from vislab.systems.cae.frozen import Frozen


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), Frozen(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))))


def test_no_parameters_and_no_state():
    found = model()
    assert len(list(found.parameters())) == 2 and list(found.state_dict()) == ["0.weight", "0.bias"]
    found.load_state_dict(found.state_dict())  # strict
    assert not any(p.requires_grad for p in found[1].network.parameters())


def test_stays_in_eval_mode():
    found = model().train()
    assert not found[1].network.training
    x = torch.ones(4, 3)
    assert torch.equal(found(x), found(x))


def test_moves_with_the_model():
    found = model().double()
    assert found[1].network[0].weight.dtype == torch.float64 and found(torch.ones(1, 3).double()).shape == (1, 2)
    assert found.to("meta")[1].network[0].weight.is_meta


def test_copies_have_a_network_of_their_own():
    found = model()
    other = copy.deepcopy(found)
    x = torch.ones(2, 3)
    assert torch.equal(found(x), other(x)) and other[1].network is not found[1].network
