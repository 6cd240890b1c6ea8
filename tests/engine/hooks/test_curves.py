"""Test CurvesHook: losses and metrics are kept on resume, one panel for each."""

from types import SimpleNamespace

import cv2
import pytest

from tests.helpers.toy_run import broken_run, make_runner
from vislab.engine.hooks.curves import CurveHook
from vislab.engine.message_hub import MessageHub

CURVES = {"type": "CurveHook", "metrics": ["toy/error", "never/there"]}


@pytest.fixture
def undrawn(monkeypatch) -> None:
    monkeypatch.setattr(CurveHook, "_draw", lambda hook, runner: None)


def points(runner) -> dict[str, list]:
    return runner.message_hub.get_info("curves")


def test_the_loss_of_an_epoch_is_the_mean_of_its_iterations(tmp_path, undrawn):
    runner = make_runner(tmp_path, total=2, custom_hooks=[CURVES])
    losses, step = [], runner.model.train_step
    runner.model.train_step = lambda *a, **k: (found := step(*a, **k), losses.append(float(found["loss"])))[0]
    runner.train()
    assert [step for step, _ in points(runner)["loss"]] == [1, 2] == [step for step, _ in points(runner)["toy/error"]]
    for epoch in (0, 1):
        assert points(runner)["loss"][epoch][1] == pytest.approx(sum(losses[6 * epoch : 6 * epoch + 6]) / 6)
    assert points(runner)["toy/error"][1][1] == runner.message_hub.get_scalar("val/toy/error").current()
    assert set(points(runner)) == {"loss", "toy/error"}


def test_one_panel_for_each_curve(tmp_path):
    hub = MessageHub("panels")
    hub.update_info("curves", {"loss": [[1, 2.0], [2, 0.5]], "a": [[2, 0.3]], "b": [], "other": [[1, 1.0]]})
    runner = SimpleNamespace(message_hub=hub, work_dir=str(tmp_path), _train_loop=None)
    CurveHook(metrics=["a", "b"], file="x.png").after_train(runner)
    assert cv2.imread(str(tmp_path / "x.png")).shape[:2] == (350, 1000)  # two panels of 5 x 3.5 inches
    hub.update_info("curves", {})
    CurveHook(metrics=["a"], file="nothing.png").after_train(runner)
    assert not (tmp_path / "nothing.png").exists()


def test_a_run_by_iterations_draws_at_its_validations_and_its_end(tmp_path, undrawn):
    runner = make_runner(tmp_path, by_epoch=False, total=12, custom_hooks=[CURVES])
    losses, step = [], runner.model.train_step
    runner.model.train_step = lambda *a, **k: (found := step(*a, **k), losses.append(float(found["loss"])))[0]
    runner.train()
    assert [step for step, _ in points(runner)["loss"]] == [5, 10, 12]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert [value for _, value in points(runner)["loss"]] == pytest.approx(means)
    assert [step for step, _ in points(runner)["toy/error"]] == [5, 10, 12]


def test_points_survive_a_resume_and_none_comes_twice(tmp_path, undrawn):
    whole = make_runner(tmp_path / "whole", total=2, custom_hooks=[CURVES])
    whole.train()
    broken_run(tmp_path / "broken", 8, total=2, custom_hooks=[CURVES])
    resumed = make_runner(tmp_path / "broken", total=2, custom_hooks=[CURVES], resume=True)
    resumed.train()
    assert points(resumed) == points(whole) and len(points(whole)["loss"]) == 2


def test_a_repeated_validation_replaces_what_it_repeats():
    hub = MessageHub("curves")
    runner, hook = SimpleNamespace(message_hub=hub), CurveHook(metrics=["a"])
    for step, value in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.45)):
        hook._store(runner, "a", step, value)
    assert hub.get_info("curves") == {"a": [[1, 0.5], [2, 0.45]]}
