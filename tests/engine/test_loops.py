"""Test that loops continue at any iteration with the same next batch, without reading earlier samples."""

import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from tests.helpers.toy_run import Killed, ToyDataset, jitter, make_runner, stop_at, toy_config
from vislab.engine import loops
from vislab.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from vislab.errors import ConfigError


def batches(runner) -> list[torch.Tensor]:
    """Let a run record the inputs of each training step, (B, 4) each."""
    record = []
    step = runner.model.train_step

    def recording(data, **kwargs):
        record.append(torch.stack(data["inputs"]))
        return step(data, **kwargs)

    runner.model.train_step = recording
    return record


def test_both_forms_of_train_cfg_get_our_loops(tmp_path):
    for by_epoch, loop in ((True, EpochBasedTrainLoop), (False, IterBasedTrainLoop)):
        runner = make_runner(tmp_path, by_epoch=by_epoch)
        assert type(runner.train_loop) is loop
    assert type(make_runner(tmp_path, train_cfg={"type": "IterBasedTrainLoop", "max_iters": 3}).train_loop) is loop


@pytest.mark.parametrize(
    ("sampler", "workers"),
    [
        ("InfiniteSampler", 0),
        ("EpochSampler", 2),
        pytest.param("InfiniteSampler", 2, marks=pytest.mark.slow),
        pytest.param("EpochSampler", 0, marks=pytest.mark.slow),
    ],
)
def test_next_batch_after_a_resume_and_nothing_read_twice(tmp_path, sampler, workers):
    config = toy_config(tmp_path, by_epoch=False)["train_dataloader"]
    config |= {"sampler": {"type": sampler, "shuffle": True}, "num_workers": workers}
    options = {"by_epoch": False, "total": 15, "train_dataloader": config}
    whole = make_runner(tmp_path / "whole", **options)
    expected = batches(whole)
    whole.train()

    broken = make_runner(tmp_path / "broken", **options)
    stop_at(broken, 10)
    with pytest.raises(Killed):
        broken.train()
    resumed = make_runner(tmp_path / "broken", **options, resume=True)  # from iter_8.pth
    got = batches(resumed)
    resumed.train()
    assert len(got) == 7
    assert all(torch.equal(one, other) for one, other in zip(got, expected[8:], strict=True))
    if workers == 0:
        assert len(resumed.train_dataloader.dataset.reads) == 7 * 4


def test_foreign_samplers_are_replayed_with_a_warning(tmp_path, caplog):
    config = toy_config(tmp_path)["train_dataloader"] | {"sampler": {"type": DefaultSampler, "shuffle": True}}
    hooks = {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 4}}
    options = {"total": 2, "train_dataloader": config, "default_hooks": hooks, "custom_hooks": []}
    whole = make_runner(tmp_path, **options)
    whole.train()
    resumed = make_runner(tmp_path, **options, resume=str(tmp_path / "iter_8.pth"))
    said = []
    resumed.logger.warning = said.append
    resumed.train()
    assert any("DefaultSampler cannot start in the middle" in text for text in said)
    assert resumed.iter == 12


def test_validation_times(tmp_path):
    at = []
    runner = make_runner(
        tmp_path,
        by_epoch=False,
        total=14,
        train_cfg={"by_epoch": False, "max_iters": 14, "val_interval": 4, "val_begin": 5},
    )
    run = runner.val_loop.run
    runner.val_loop.run = lambda: (at.append(runner.iter), run())[1]
    runner.train()
    assert at == [8, 12, 14]


def test_intervals_can_change_on_the_way(tmp_path):
    at = []
    loop = {"by_epoch": True, "max_epochs": 6, "val_interval": 3, "dynamic_intervals": [(5, 1)]}
    runner = make_runner(tmp_path, train_cfg=loop)
    run = runner.val_loop.run
    runner.val_loop.run = lambda: (at.append(runner.epoch), run())[1]
    runner.train()
    assert at == [3, 4, 5, 6]


def test_training_goes_on_in_training_mode_after_validation(tmp_path):
    runner = make_runner(tmp_path, by_epoch=False, total=8)
    modes = []
    step = runner.model.train_step
    runner.model.train_step = lambda *a, **k: (modes.append(runner.model.training), step(*a, **k))[1]
    runner.train()
    assert modes == [True] * 8


def test_dataset_smaller_than_a_batch(tmp_path):
    config = toy_config(tmp_path)["train_dataloader"] | {
        "dataset": {"type": ToyDataset, "length": 3, "pipeline": [jitter]},
        "drop_last": True,
    }
    with pytest.raises(ConfigError, match="3 samples, fewer than one batch of 4"):
        make_runner(tmp_path, train_dataloader=config).train()


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ([(2, 5), (2, 5)], None),
        ([(2, 5), (2, 4)], "5 samples in 2 batches, 4 samples in 2 batches, of a dataset of 9"),
        ([(3, 5), (2, 4)], "5 samples in 3 batches, 4 samples in 2 batches"),
        ([(5, 9), (5, 9)], "9 samples in 5 batches, 9 samples in 5 batches"),  # each process reads everything
    ],
)
def test_processes_read_equal_shares(monkeypatch, shares, told):
    """Otherwise one would wait for the other for ever, and an evaluation would count samples twice or not at all."""
    monkeypatch.setattr(loops, "get_world_size", lambda: 2)
    monkeypatch.setattr(loops, "all_gather_object", lambda mine: shares)
    loader = DataLoader(range(9), batch_size=2)
    if told is None:
        loops._check_shares(loader, "val_dataloader")
    else:
        with pytest.raises(
            ConfigError, match=f"val_dataloader.sampler .SequentialSampler. gives the 2 processes {told}"
        ):
            loops._check_shares(loader, "val_dataloader")
    if len(set(shares)) == 1:  # a sampler for training may draw as often as it wants
        loops._check_shares(loader, "train_dataloader")
