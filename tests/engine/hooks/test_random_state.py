"""Test that validation does not change the random state of training."""

from types import SimpleNamespace

import torch

from tests.helpers.toy_run import make_runner
from vislab.engine.hooks import random_state
from vislab.engine.hooks.random_state import RandomStateHook
from vislab.engine.resume.random_state import get_random_state, set_random_state


def test_validation_leaves_no_trace_in_training(tmp_path):
    """A run that validates after each epoch trains the same weights as one that never does."""
    with_validation = make_runner(tmp_path / "a")
    with_validation.train()
    without = make_runner(tmp_path / "b", val_cfg=None, val_dataloader=None, val_evaluator=None)
    without.train()
    for one, other in zip(with_validation.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_each_process_gets_its_own_state_back(monkeypatch):
    hook, drawn = RandomStateHook(), torch.rand(3)
    runner = SimpleNamespace(_resume=True, world_size=2, logger=SimpleNamespace(warning=lambda text: said.append(text)))
    said, states = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(get_random_state())
    monkeypatch.setattr(random_state, "get_rank", lambda: 1)
    hook.after_load_checkpoint(runner, {"random_state": states})
    hook.restore_random_state(runner)
    torch.manual_seed(2), (expected := torch.rand(3))
    hook.after_load_checkpoint(runner, {"random_state": states})
    hook.restore_random_state(runner)
    assert torch.equal(torch.rand(3), expected) and not torch.equal(drawn, expected) and not said
    torch.manual_seed(5)
    hook.restore_random_state(runner)  # once only
    runner.world_size = 3
    hook.after_load_checkpoint(runner, {"random_state": states})
    hook.restore_random_state(runner)
    again = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), again) and "2 processes and is resumed by 3" in said[0].replace("saved by ", "")


def test_a_checkpoint_after_validation_holds_the_state_before_it():
    hook, runner, checkpoint = RandomStateHook(), SimpleNamespace(_resume=True), {}
    torch.manual_seed(3)
    hook.before_val(runner)
    torch.rand(10)
    hook.collect_rank_states(runner)
    hook.before_save_checkpoint(runner, checkpoint)
    hook.after_val(runner)
    after = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), after)
    set_random_state(checkpoint["random_state"][0])
    assert torch.equal(torch.rand(2), after)
