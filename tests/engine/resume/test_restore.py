"""Test that a resumed run continues after the samples already used, and logs changed settings."""

import json
import logging

import pytest
import torch

from tests.helpers.toy_run import ToyDataset, broken_run, jitter, make_runner, toy_config
from vislab.datasets.samplers import EpochSampler
from vislab.errors import CheckpointError, ConfigError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint

STEPS = {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 2}}
BARE = {"val_cfg": None, "val_dataloader": None, "val_evaluator": None, "custom_hooks": []}
MULTI_STEP = [{"type": "MultiStepLR", "milestones": [4], "by_epoch": True}]


def loader(by_epoch: bool = True, length: int = 24, **changes) -> dict:
    built = toy_config("", by_epoch=by_epoch)["train_dataloader"] | changes
    return built | {"dataset": {"type": ToyDataset, "length": length, "pipeline": [jitter]}}


def steps_by_epoch(runner, total: int) -> list[int]:
    """Train and count the steps of each epoch."""
    epochs, step = [], runner.model.train_step
    runner.model.train_step = lambda *a, **k: (epochs.append(runner.epoch), step(*a, **k))[1]
    runner.train()
    return [epochs.count(epoch) for epoch in range(total)]


def warnings_of(runner) -> list[str]:
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    runner.logger.addHandler(handler)
    return said


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        (loader(batch_size=8), [0, 0, 3, 3]),
        (loader(batch_size=2), [0, 0, 12, 12]),
        (loader(length=16), [0, 0, 4, 4]),
        (loader(length=30, drop_last=True), [0, 0, 7, 7]),
    ],
)
def test_other_sizes_at_the_end_of_an_epoch(tmp_path, changed, steps):
    broken_run(tmp_path, 14, param_scheduler=MULTI_STEP, **BARE)
    resumed = make_runner(tmp_path, param_scheduler=MULTI_STEP, train_dataloader=changed, resume=True, **BARE)
    said = warnings_of(resumed)
    assert steps_by_epoch(resumed, 4) == steps
    assert resumed.iter == resumed.max_iters == 4 * steps[-1]
    assert any("the one being resumed read 24 samples in 6 iterations of 4 x 1 samples" in text for text in said)


def test_other_batch_size_inside_an_epoch_reads_what_is_left(tmp_path):
    broken_run(tmp_path, 9, default_hooks=STEPS, **BARE)  # iter_8.pth: 8 of 24 samples of epoch 2
    resumed = make_runner(
        tmp_path, total=2, default_hooks=STEPS, train_dataloader=loader(batch_size=8), resume=True, **BARE
    )
    assert steps_by_epoch(resumed, 2) == [0, 2] and resumed.iter == 6
    order = EpochSampler(range(24), seed=3)
    order.set_epoch(1)
    assert resumed.train_dataloader.dataset.reads == [int(i) for i in order][8:]


def test_iteration_runs_keep_the_iteration_and_the_place_in_the_stream(tmp_path):
    options = {"by_epoch": False, **BARE}
    broken_run(tmp_path, 9, total=12, **options)  # iter_8.pth: 32 samples
    changed = loader(by_epoch=False, batch_size=2)
    resumed = make_runner(tmp_path, total=12, train_dataloader=changed, resume=True, **options)
    whole = make_runner(tmp_path / "whole", total=12, **options)
    whole.train()
    resumed.train()
    assert resumed.iter == 12
    assert resumed.train_dataloader.dataset.reads == whole.train_dataloader.dataset.reads[32:40]
    again = make_runner(tmp_path, total=14, resume=True, **options)  # back to 4, from iteration 12 and 40 samples
    again.train()
    whole = make_runner(tmp_path / "whole", total=14, **options)
    whole.train()
    assert again.train_dataloader.dataset.reads == whole.train_dataloader.dataset.reads[40:48]


def test_older_checkpoints_still_resume_and_never_skip(tmp_path):
    make_runner(tmp_path, total=2, **BARE).train()
    checkpoint = load_checkpoint(tmp_path / "epoch_2.pth")
    del checkpoint["meta"]["data"], checkpoint["hooks"], checkpoint["settings"]
    save_checkpoint(checkpoint, tmp_path / "epoch_2.pth")
    resumed = make_runner(tmp_path, total=3, resume=True, **BARE)
    said = warnings_of(resumed)
    assert steps_by_epoch(resumed, 3) == [0, 0, 6] and any("did not save settings" in text for text in said)
    path = str(tmp_path / "epoch_2.pth")
    with pytest.raises(CheckpointError, match="with 24 samples in 3 iterations .* did not save the run's batch size"):
        make_runner(tmp_path, train_dataloader=loader(batch_size=8), resume=path, **BARE).train()


def test_schedules_by_iteration_follow_the_new_meaning_of_an_iteration(tmp_path):
    cosine = [{"type": "WarmupCosineLR", "by_epoch": True, "convert_to_iter_based": True}]
    broken_run(tmp_path, 14, param_scheduler=cosine, **BARE)
    larger = loader(batch_size=8)
    resumed = make_runner(tmp_path, param_scheduler=cosine, train_dataloader=larger, resume=True, **BARE)
    resumed.train()
    whole = make_runner(tmp_path / "whole", param_scheduler=cosine, train_dataloader=larger, **BARE)
    whole.train()
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()


def test_changed_settings_take_effect_and_each_is_said(tmp_path):
    broken_run(tmp_path, 8, param_scheduler=MULTI_STEP, **BARE)
    schedule = [{"type": "MultiStepLR", "milestones": [2], "gamma": 0.5, "by_epoch": True}]
    optimizer = {"optimizer": {"type": "SGD", "lr": 0.7, "momentum": 0.1, "weight_decay": 0.01}}
    options = {"param_scheduler": schedule, "optim_wrapper": optimizer}
    config = toy_config(tmp_path)
    resumed = make_runner(tmp_path, resume=True, model=config["model"] | {"dropout": 0.5}, **options, **BARE)
    said = warnings_of(resumed)
    resumed.train()
    group = resumed.optim_wrapper.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.35, 0.1, 0.01)
    text = " ".join(said)
    for change in (
        "momentum of group 0: 0.9 -> 0.1",
        "milestones: [4] -> [2]",
        "lr: 0.1 -> 0.7",
        "dropout: (not there) -> 0.5",
    ):
        assert change in text


def test_more_epochs_stretch_the_schedule(tmp_path):
    cosine = [{"type": "WarmupCosineLR", "by_epoch": True, "convert_to_iter_based": True}]
    make_runner(tmp_path, total=1, param_scheduler=cosine, **BARE).train()
    resumed = make_runner(tmp_path, total=2, param_scheduler=cosine, resume=True, **BARE)
    said = warnings_of(resumed)
    resumed.train()
    whole = make_runner(tmp_path / "whole", total=2, param_scheduler=cosine, **BARE)
    whole.train()
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    assert "WarmupCosineLR.end: 6 -> 12" in " ".join(said) and "max_epochs: 1 -> 2" in " ".join(said)


def test_nothing_is_said_where_nothing_changed(tmp_path):
    broken_run(tmp_path, 8)
    resumed = make_runner(tmp_path, resume=True, log_level="ERROR")
    said = warnings_of(resumed)
    resumed.train()
    assert not said


def test_what_cannot_take_effect_is_refused(tmp_path):
    make_runner(tmp_path, total=1).train()
    adam = {"optimizer": {"type": "AdamW", "lr": 0.1}}
    with pytest.raises(CheckpointError, match="state of SGD, the config has AdamW.*--load-from"):
        make_runner(tmp_path, resume=True, optim_wrapper=adam).train()
    groups = {"paramwise_cfg": {"custom_keys": {"head": {"lr_mult": 0.1}}}, **toy_config("")["optim_wrapper"]}
    with pytest.raises(CheckpointError, match="parameters in 1 groups, the config in 6"):
        make_runner(tmp_path, resume=True, optim_wrapper=groups).train()
    with pytest.raises(CheckpointError, match="EMAHook, and this config has none.*--load-from"):
        make_runner(tmp_path, resume=True, custom_hooks=[]).train()


def test_schedules_that_were_dropped_or_were_never_there(tmp_path):
    make_runner(tmp_path / "some", total=1).train()
    with pytest.raises(CheckpointError, match="it has 2 parameter schedulers, the config has 0"):
        make_runner(tmp_path / "some", resume=True, param_scheduler=None).train()
    make_runner(tmp_path / "none", total=1, param_scheduler=None).train()
    resumed = make_runner(tmp_path / "none", total=2, resume=True, param_scheduler=None)
    resumed.train()
    assert resumed.iter == 12


def test_a_finished_run_says_so_and_keeps_its_metrics(tmp_path):
    make_runner(tmp_path, total=1).train()
    before = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    again = make_runner(tmp_path, total=1, resume=True)
    said = warnings_of(again)
    again.train()
    assert any("training is already complete" in text for text in said)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == before


class Endless(torch.utils.data.Sampler):
    """Says that it ends, and does not."""

    def __init__(self, dataset, seed=None) -> None:
        self.size = len(dataset)

    def __len__(self) -> int:
        return self.size

    def __iter__(self):
        while True:
            yield from range(self.size)


def test_endless_samplers_are_refused_where_something_must_end(tmp_path):
    for sampler, message in (("InfiniteSampler", "never ends"), (Endless, "batch [47].* but its length is")):
        train = loader() | {"sampler": {"type": sampler}}
        val = toy_config("")["val_dataloader"] | {"sampler": {"type": sampler}}
        with pytest.raises(ConfigError, match=f"train_dataloader.*{message}"):
            make_runner(tmp_path, total=1, train_dataloader=train).train()
        with pytest.raises(ConfigError, match=f"val_dataloader.*{message}"):
            make_runner(tmp_path, total=1, val_dataloader=val).train()
