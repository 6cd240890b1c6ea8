"""Test that validations are logged at their step: the epoch or the iteration."""

import json
from pathlib import Path

import pytest
from mmengine.hooks import LoggerHook

from tests.helpers.toy_run import make_runner
from vislab.engine.hooks import CurveHook


def logged(folder: Path, key: str) -> list[tuple[int, float]]:
    records = [json.loads(line) for f in folder.glob("*/vis_data/scalars.json") for line in f.read_text().splitlines()]
    return [(record["step"], record[key]) for record in records if key in record]


@pytest.mark.parametrize("kind", ["LoggerHook", LoggerHook])
def test_iteration_based_runs_log_validations_at_their_iteration(tmp_path, kind):
    hooks = {"logger": {"type": kind, "interval": 5}, "checkpoint": None}
    curves = CurveHook(metrics=["toy/error"])
    runner = make_runner(tmp_path, by_epoch=False, total=12, default_hooks=hooks, custom_hooks=[curves])
    runner.train()  # validates every 5
    assert [step for step, _ in logged(tmp_path, "toy/error")] == [5, 10, 12]
    assert [step for step, _ in logged(tmp_path, "loss")] == [5, 10]
    stored = runner.message_hub.get_info("curves")
    assert stored["toy/error"] == [list(point) for point in logged(tmp_path, "toy/error")]
    losses = list(runner.message_hub.get_scalar("train/loss").data[0])
    assert [step for step, _ in stored["loss"]] == [5, 10, 12]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert [value for _, value in stored["loss"]] == pytest.approx(means)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_epoch_based_runs_log_validations_at_their_epoch(tmp_path):
    curves = CurveHook(metrics=["toy/error"])
    runner = make_runner(tmp_path, total=3, default_hooks={"checkpoint": None}, custom_hooks=[curves])
    runner.train()
    assert [step for step, _ in logged(tmp_path, "toy/error")] == [1, 2, 3]
    assert [step for step, _ in runner.message_hub.get_info("curves")["loss"]] == [1, 2, 3]
