"""Test CheckpointHook: old checkpoints are removed after the new one is written, the best is kept, loads are safe."""

import os
from pathlib import Path

import pytest
import torch

from tests.helpers.toy_run import ToyMetric, make_runner
from vislab.engine.hooks import CheckpointHook
from vislab.errors import CheckpointError, ConfigError
from vislab.io.checkpoint import load_checkpoint


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


def hooks(**checkpoint) -> dict:
    return {"checkpoint": {"type": "CheckpointHook", **checkpoint}}


def test_unknown_argument_is_refused_at_once():
    with pytest.raises(TypeError, match="intervall"):
        CheckpointHook(intervall=3)


def test_only_the_latest_are_kept(tmp_path):
    make_runner(tmp_path, default_hooks=hooks(max_keep_ckpts=2)).train()
    assert files(tmp_path) == {"epoch_3.pth", "epoch_4.pth"}
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_4.pth")
    make_runner(tmp_path, total=6, default_hooks=hooks(max_keep_ckpts=2), resume=True).train()
    assert files(tmp_path) == {"epoch_5.pth", "epoch_6.pth"}


def test_hook_follows_the_loop(tmp_path):
    make_runner(tmp_path, by_epoch=False, total=10, default_hooks=hooks(interval=4)).train()
    assert files(tmp_path) == {"iter_4.pth", "iter_8.pth", "iter_10.pth"}


def test_new_checkpoint_stands_before_an_old_one_goes(tmp_path, monkeypatch):
    """With one checkpoint kept, there is never a moment with none."""
    left = []
    unlink = Path.unlink

    def watching(path, **options):
        kind = path.name.split("_")[0]
        left.append([name for name in files(tmp_path) - {path.name} if name.startswith(kind)])
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", watching)
    make_runner(tmp_path, default_hooks=hooks(max_keep_ckpts=1, save_best="auto", rule="less")).train()
    assert len(left) >= 3 and all(left)
    assert {name for name in files(tmp_path) if name.startswith("epoch")} == {"epoch_4.pth"}


def test_failed_save_keeps_what_was_there(tmp_path, monkeypatch):
    make_runner(tmp_path, total=1, default_hooks=hooks(max_keep_ckpts=1)).train()
    before = (tmp_path / "epoch_1.pth").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    runner = make_runner(tmp_path, total=2, default_hooks=hooks(max_keep_ckpts=1), resume=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        runner.train()
    assert files(tmp_path) == {"epoch_1.pth"} and (tmp_path / "epoch_1.pth").read_bytes() == before


class Scores(ToyMetric):
    """Gives the values of a list, one a validation."""

    values: list[float] = []

    def compute_metrics(self, results):
        return {"score": type(self).values.pop(0), "loss": 1.0}


def test_best_checkpoint(tmp_path):
    Scores.values = [0.2, 0.5, 0.4, 0.3]
    evaluator = {"type": Scores}
    runner = make_runner(tmp_path, default_hooks=hooks(save_best="toy/score", rule="greater"), val_evaluator=evaluator)
    runner.train()
    assert {n for n in files(tmp_path) if n.startswith("best")} == {"best_toy_score_epoch_2.pth"}
    best = load_checkpoint(tmp_path / "best_toy_score_epoch_2.pth")
    step = load_checkpoint(tmp_path / "epoch_2.pth")
    assert torch.equal(best["state_dict"]["head.weight"], step["state_dict"]["head.weight"])
    assert step["message_hub"]["runtime_info"]["best_score"] == 0.5
    Scores.values = [0.3, 0.1, 0.6]  # no checkpoint records the validation of epoch 4, so it is repeated
    options = {"default_hooks": hooks(save_best="toy/score", rule="greater"), "val_evaluator": evaluator}
    make_runner(tmp_path, total=6, resume=True, **options).train()
    assert {n for n in files(tmp_path) if n.startswith("best")} == {"best_toy_score_epoch_6.pth"}


def test_best_of_a_metric_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="save_best='acc'.*It has: toy/error"):
        make_runner(tmp_path, total=1, default_hooks=hooks(save_best="acc")).train()


def test_published_checkpoint_holds_the_keys_asked_for(tmp_path):
    make_runner(tmp_path, total=1, default_hooks=hooks(published_keys=["state_dict"])).train()
    assert set(load_checkpoint(tmp_path / "epoch_1_published.pth")) == {"state_dict"}


def test_checkpoint_needs_no_trust(tmp_path):
    """Whatever mmengine put into it, the file is readable with weights_only and contains the random state."""
    make_runner(tmp_path, total=1).train()
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert {"state_dict", "optimizer", "param_schedulers", "random_state", "ema_state_dict"} <= set(checkpoint)
