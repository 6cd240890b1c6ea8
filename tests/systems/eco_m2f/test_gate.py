"""Test the gate: it learns which images benefit from more layers; quality and cost of policies."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.eco_m2f import (
    EXITS,
    toy_derived,
)
from vislab.systems.eco_m2f import (
    Derived,
    best_exits,
    fit_gate,
    frontier,
)
from vislab.systems.eco_m2f.gate import gate_choice, policies, utility


def test_labels_follow_beta():
    quality = np.random.default_rng(0).random((200, 3))
    assert np.array_equal(best_exits(quality, EXITS, 0), quality.argmax(1))
    assert (best_exits(quality, EXITS, 10) == 0).all()
    assert best_exits(np.ones((1, 3)), EXITS, 0)[0] == 0  # of equals the shallowest
    depth = [best_exits(quality, EXITS, beta).mean() for beta in np.linspace(0, 1, 40)]
    assert all(a >= b for a, b in zip(depth, depth[1:], strict=False)) and depth[0] > depth[-1]


@pytest.mark.parametrize("loss", ["regress", "expected", "soft", "hard"])
def test_a_fitted_gate_beats_chance_at_the_same_cost(loss):
    gate = nn.Linear(8, 3)
    fit_gate(gate, toy_derived(), 0.02, loss=loss)
    gated, chance, oracle = policies(gate, toy_derived(seed=1), 0.02)
    assert gated["cost"] == pytest.approx(chance["cost"])
    assert gated["quality"] > chance["quality"] + 0.015
    assert gated["over_random"] == pytest.approx(gated["quality"] - chance["quality"])
    assert 0 < gated["error"] < gated["over_random"] / 5
    assert gated["over_fixed"] > 0.015
    assert oracle["quality"] - 0.02 * oracle["depth"] >= gated["quality"] - 0.02 * gated["depth"]
    chosen = gate_choice(gate, toy_derived(seed=1), depth_penalty=100.0)
    assert (chosen == 0).all()


def test_a_regressing_gate_knows_every_beta():
    gate, other = nn.Linear(8, 3), nn.Linear(8, 3)
    fit_gate(gate, toy_derived(), 0.0, loss="regress", weight_decay=0.1)
    fit_gate(other, toy_derived(), 0.02, loss="regress", weight_decay=0.1)
    chosen = gate_choice(gate, toy_derived(seed=1), depth_penalty=0.02)
    assert 0 < chosen.mean() < 2
    assert np.array_equal(chosen, gate_choice(other, toy_derived(seed=1)))


def test_without_anything_to_learn_the_gate_gives_one_exit_to_all():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (60, 40)).astype(np.float32)
    quality = np.array([0.5, 0.6, 0.55]) + rng.normal(0, 0.05, (60, 3))
    derived = Derived(quality, noise, EXITS, [""] * 60, None, "pq")
    gate = nn.Linear(40, 3)
    fit_gate(gate, derived, 0.0)
    assert (gate_choice(gate, derived) == 1).mean() > 0.9


def test_published_fit_moves_the_gate_and_frontier_lists_everything():
    gate = nn.Linear(8, 3)
    before = gate.weight.detach().clone()
    fit_gate(gate, toy_derived(), 0.02, loss="soft", published=True, steps=20)
    assert not torch.equal(before, gate.weight)
    rows = frontier(toy_derived(), toy_derived(seed=1), betas=(0.0, 0.02, 1.0), costs={1: 10.0, 2: 20.0, 3: 30.0})
    assert [r["policy"] for r in rows] == ["exit 1", "exit 2", "exit 3"] + ["gate", "random", "oracle"] * 3
    assert rows[0]["cost"] == 10 and rows[-3]["depth"] == 1


def test_policies_by_hand():
    """Two images and two exits; the gate's features choose the deep exit for the second image only."""
    quality = np.array([[0.5, 0.6], [0.2, 0.8]])
    derived = Derived(quality, np.array([[-1.0], [1.0]], np.float32), (1, 3), ["a", "b"], None, "pq")
    gate = nn.Linear(1, 2)
    with torch.no_grad():
        gate.weight.copy_(torch.tensor([[-5.0], [5.0]]))
        gate.bias.zero_()
    assert gate_choice(gate, derived).tolist() == [0, 1]
    gated, chance, oracle = policies(gate, derived, 0.1, costs={1: 10.0, 3: 20.0})
    assert gated["quality"] == pytest.approx(0.65) and gated["depth"] == 2 and gated["cost"] == 15
    assert chance["quality"] == pytest.approx(quality.mean()) and chance["cost"] == 15
    assert gated["over_random"] == pytest.approx(0.65 - quality.mean())
    assert gated["over_fixed"] == pytest.approx(0.65 - (0.35 + 0.7) / 2)  # halfway between the two exits
    assert oracle["quality"] == pytest.approx(0.65)  # 0.1 of quality is not worth two layers of 0.1
    assert best_exits(quality, (1, 3), 0.1).tolist() == [0, 1] and best_exits(quality, (1, 3), 0.0).tolist() == [1, 1]
    np.testing.assert_allclose(utility(quality, (1, 3), 0.1), [[0.4, 0.3], [0.1, 0.5]])


def test_regression_is_ridge_on_standardized_features():
    derived = toy_derived(50)
    gate = nn.Linear(8, 3)
    fit_gate(gate, derived, 0.02, loss="regress", weight_decay=0.3)
    mean, std = derived.features.mean(0), derived.features.std(0)
    x, y = (derived.features - mean) / std, utility(derived.quality, EXITS, 0.02)
    weights = np.linalg.lstsq(
        np.concatenate([x / 50**0.5, 0.3**0.5 * np.eye(8)]),
        np.concatenate([(y - y.mean(0)) / 50**0.5, np.zeros((8, 3))]), rcond=None,
    )[0]  # fmt: skip
    expected = y.mean(0) + x @ weights
    np.testing.assert_allclose(gate(torch.from_numpy(derived.features)).detach(), expected, atol=1e-5)
