"""Test sampled exits: they depend on seed and step only, one per optimizer step."""

import pytest

from tests.helpers.eco_m2f import (
    build_model,
)
from vislab.errors import ConfigError
from vislab.systems.eco_m2f.hooks import SampleExitHook, draw_exit


def test_draws_depend_on_seed_and_step_alone_and_cover_all_exits():
    draws = [draw_exit((2, 3, 4, 5, 6), 7, step) for step in range(500)]
    assert draws == [draw_exit((2, 3, 4, 5, 6), 7, step) for step in range(500)]
    assert draws != [draw_exit((2, 3, 4, 5, 6), 8, step) for step in range(500)]
    assert all(60 < draws.count(k) < 140 for k in (2, 3, 4, 5, 6))
    assert {draw_exit((2, 3), 0, step, (0, 1)) for step in range(20)} == {3}


def test_hook_draws_once_for_each_accumulated_step_and_the_same_for_all_processes():
    from types import SimpleNamespace

    model = build_model()
    runner = SimpleNamespace(
        model=model, seed=5, iter=0, optim_wrapper=SimpleNamespace(_accumulative_counts=4),
        message_hub=SimpleNamespace(update_scalar=lambda *a: None),
    )  # fmt: skip
    hook, drawn = SampleExitHook(), []
    hook.before_train(runner)
    for runner.iter in range(32):
        hook.before_train_iter(runner, 0)
        drawn.append(model.train_exit)
    assert all(len(set(drawn[i : i + 4])) == 1 for i in range(0, 32, 4)) and len(set(drawn)) > 1
    with pytest.raises(ConfigError, match="weights"):
        SampleExitHook(weights=(1, 2)).before_train(runner)
