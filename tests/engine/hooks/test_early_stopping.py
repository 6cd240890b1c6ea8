"""Test early stopping: patience is restored on resume, and a stopped run remains stopped."""

import pytest
from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook

from tests.helpers.toy_run import broken_run, make_runner
from vislab.io.checkpoint import load_checkpoint

STILL = {"param_scheduler": [], "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 1e-9}}}


@pytest.mark.parametrize("kind", ["EarlyStoppingHook", MMEngineEarlyStoppingHook])
@pytest.mark.parametrize("interval", [1, 10])
def test_early_stopping_goes_on_counting_and_leaves_a_checkpoint(tmp_path, kind, interval):
    stop = {"type": kind, "monitor": "toy/error", "rule": "less", "patience": 3, "min_delta": 1.0}
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": interval}}
    options = {"total": 12, "default_hooks": hooks, "custom_hooks": [stop], **STILL}
    if interval == 1:
        broken_run(tmp_path, 14, **options)
    run = make_runner(tmp_path, **options, resume=True)
    run.train()
    assert run.epoch == 4 and (tmp_path / "epoch_4.pth").exists()
    again = make_runner(tmp_path, **options, resume=True)
    again.train()
    assert again.epoch == 4  # it stays stopped
    more = {**options, "custom_hooks": [stop | {"patience": 5}]}
    patient = make_runner(tmp_path, **more, resume=True)
    patient.train()
    assert patient.epoch == 6


def test_best_at_an_early_stop_counts_the_last_validation_once(tmp_path):
    """The step's checkpoint is written again for a new best: after all hooks have seen the metrics."""
    stop = {"type": "EarlyStoppingHook", "monitor": "toy/error", "rule": "less", "patience": 5}
    hooks = {"checkpoint": {"type": "CheckpointHook", "save_best": "toy/error", "rule": "less"}}
    run = make_runner(tmp_path, total=1, default_hooks=hooks, custom_hooks=[stop])
    run.train()
    error = run.message_hub.get_scalar("val/toy/error").current()
    assert load_checkpoint(tmp_path / "epoch_1.pth")["hooks"]["EarlyStoppingHook"]["best_score"] == error
