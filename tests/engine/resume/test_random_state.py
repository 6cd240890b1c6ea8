"""Test that random states are restored, also from a checkpoint file."""

import random

import numpy as np
import pytest
import torch

from vislab.engine.resume.random_state import get_random_state, set_random_state
from vislab.errors import CheckpointError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint


def draw() -> list:
    return [
        random.random(), random.gauss(0, 1), random.choice("abc"), np.random.rand(3).tolist(),
        np.random.randn(), torch.rand(3).tolist(), torch.randn(1).item(), np.random.permutation(5).tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("draws", [0, 1, 700])  # 624 numbers are one block of the Mersenne twister
def test_all_draws_repeat(tmp_path, draws):
    random.gauss(0, 1), np.random.randn()  # both keep the second number of a pair
    for _ in range(draws):
        random.random(), np.random.rand()
    save_checkpoint({"state": get_random_state()}, tmp_path / "a.pth")
    expected = draw()
    assert draw() != expected
    set_random_state(load_checkpoint(tmp_path / "a.pth")["state"])
    assert draw() == expected


def test_what_is_no_state():
    state = get_random_state()
    wrong = [
        {}, {**state, "torch": torch.zeros(3)}, {**state, "python": None},
        {**state, "python": state["python"] | {"state": torch.zeros(3)}},
        {**state, "numpy": state["numpy"] | {"keys": torch.zeros(3)}},
        {**state, "numpy": state["numpy"] | {"position": "x"}},
    ]  # fmt: skip
    for value in wrong:
        with pytest.raises(CheckpointError, match="random state in the checkpoint is malformed"):
            set_random_state(value)
