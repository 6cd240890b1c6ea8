"""Whatever a hook remembers is there again after a resume: patience, gradients of an open window, a user's counters."""

from collections import deque

import pytest
import torch
from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.hooks import Hook

from tests.helpers.toy_run import Killed, make_runner, stop_at
from vislab.engine.resume.hook_state import HookStates
from vislab.io.checkpoint import load_checkpoint

BARE = {"val_cfg": None, "val_dataloader": None, "val_evaluator": None, "custom_hooks": []}
STILL = {"param_scheduler": [], "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 1e-9}}}


def broken_run(folder, at: int, **options) -> None:
    runner = make_runner(folder, **options)
    stop_at(runner, at)
    with pytest.raises(Killed):
        runner.train()


class Counter(Hook):
    """Counts without knowing of checkpoints."""

    def __init__(self, start: int = 0) -> None:
        self.start, self.count, self.last = start, start, deque(maxlen=2)
        self.path = "/tmp/somewhere"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.count += 1
        self.last.append(outputs["loss"].detach())
        self.path = f"/tmp/{self.count}"


class Keeper(Counter):
    """Decides itself what it keeps."""

    def state_dict(self) -> dict:
        return {"twice": 2 * self.count}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["twice"] // 2


def test_hooks_of_users(tmp_path):
    hooks = [{"type": Counter}, {"type": Counter, "start": 100}, {"type": Keeper}]
    options = {"total": 3, **BARE, "custom_hooks": hooks}
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    broken_run(tmp_path / "broken", 8, **options)
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    for one, other in zip(whole.hooks, resumed.hooks, strict=True):
        if isinstance(one, Counter):
            assert other.count == one.count and other.last.maxlen == 2
            assert list(map(float, other.last)) == list(map(float, one.last))


def test_settings_and_paths_are_no_state():
    hook = Counter(start=5)
    states = HookStates([hook])
    assert states.state_dict() == {}
    hook.count, hook.path = 7, "/elsewhere/x"
    assert states.state_dict() == {"Counter": {"count": 7}}
    other = Counter(start=9)
    HookStates([other]).load_state_dict({"Counter": {"count": 7}})
    assert (other.start, other.count, other.path) == (9, 7, "/tmp/somewhere")


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


SGD = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
ADAMW = {"optimizer": {"type": "AdamW", "lr": 0.01}, "clip_grad": {"max_norm": 0.5}}


@pytest.mark.parametrize(
    ("by_epoch", "total", "stop", "wrapper"),
    [(False, 12, 6, SGD), (True, 3, 8, ADAMW), (False, 10, 9, SGD)],
)
def test_resume_inside_an_accumulation_window(tmp_path, by_epoch, total, stop, wrapper):
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": 1 if by_epoch else 5}}
    options = {"by_epoch": by_epoch, "total": total, "default_hooks": hooks, **BARE}
    options["optim_wrapper"] = wrapper | {"accumulative_counts": 4}
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    broken_run(tmp_path / "broken", stop, **options)
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_gradients_that_do_not_fit_are_told(tmp_path):
    hooks = {"checkpoint": {"type": "CheckpointHook", "interval": 5}}
    options = {"by_epoch": False, "total": 8, "default_hooks": hooks, **BARE}
    broken_run(tmp_path, 6, optim_wrapper=SGD | {"accumulative_counts": 4}, **options)
    resumed = make_runner(tmp_path, optim_wrapper=SGD | {"accumulative_counts": 2}, resume=True, **options)
    said = []
    resumed.logger.warning = said.append
    resumed.train()
    assert any("1 of 4 iterations" in text and "do not fit" in text for text in said)
