"""Test the Runner: exact resuming, seeds, metrics.json, and no execution of code from checkpoints."""

import json
import random

import numpy as np
import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.toy_run import Killed, ToyMetric, ToyModel, make_runner, plain, stop_at, toy_config
from vislab.engine.config.load import load_config
from vislab.engine.runner import Runner
from vislab.errors import CheckpointError, ConfigError, TrainingError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint

TIMES = ("time", "eta")


def state_of(runner) -> dict:
    """Everything that must be equal after a resume, as one flat dict."""
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook").ema_model
    optimizer = runner.optim_wrapper.state_dict()
    state = {f"model.{k}": v for k, v in runner.model.state_dict().items()}
    state |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    state |= {f"momentum.{k}": v["momentum_buffer"] for k, v in optimizer["state"].items()}
    state |= {f"lr.{i}": torch.tensor(group["lr"]) for i, group in enumerate(optimizer["param_groups"])}
    for i, scheduler in enumerate(runner.param_schedulers):
        state |= {
            f"scheduler{i}.{k}": torch.tensor(v) for k, v in scheduler.state_dict().items() if type(v) in (int, float)
        }
    for key, history in runner.message_hub.log_scalars.items():
        if not any(word in key for word in TIMES):
            state[f"log.{key}"] = torch.from_numpy(history.data[0].copy())
    state["random.numpy"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))
    state["random.torch"] = torch.get_rng_state()
    state["random.python"] = torch.tensor(random.getstate()[1])
    return state


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different


@pytest.mark.parametrize(
    ("by_epoch", "total", "stop", "workers"),
    [
        (True, 4, 15, 0),
        (False, 14, 10, 2),
        pytest.param(True, 3, 8, 2, marks=pytest.mark.slow),
        pytest.param(False, 21, 14, 0, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, by_epoch, total, stop, workers):
    options = {"by_epoch": by_epoch, "total": total, "workers": workers}
    whole = make_runner(tmp_path / "whole", **options)
    whole.train()
    expected = state_of(whole)

    broken = make_runner(tmp_path / "broken", **options)
    stop_at(broken, stop)
    with pytest.raises(Killed):
        broken.train()
    np.random.rand(7), torch.rand(7), random.random()  # another process would have other states
    resumed = make_runner(tmp_path / "broken", **options, resume=True)
    resumed.train()
    assert resumed.message_hub.get_scalar("train/loss").data[0].size > 0
    assert_same(state_of(resumed), expected)


def test_resume_without_a_configured_seed_takes_over_the_old_one(tmp_path):
    whole = make_runner(tmp_path / "whole", randomness={"seed": None})
    whole.train()
    expected = whole.model.state_dict()
    again = make_runner(tmp_path / "whole", randomness={"seed": None}, resume=str(tmp_path / "whole/epoch_2.pth"))
    assert again.seed != whole.seed
    again.train()
    assert again.seed == whole.seed
    assert_same(again.model.state_dict(), expected)


def test_checkpoint_in_the_middle_of_an_epoch(tmp_path):
    """A checkpoint each 4 iterations of an epoch-based run: the rest of the epoch is trained, not all of it again."""
    hooks = {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 4}}
    whole = make_runner(tmp_path / "whole", total=2, default_hooks=hooks)
    whole.train()
    resumed = make_runner(tmp_path / "whole", total=2, default_hooks=hooks, resume=str(tmp_path / "whole/iter_8.pth"))
    resumed.train()
    assert resumed.iter == 12
    assert_same(state_of(resumed), state_of(whole))


def test_validation_that_a_kill_cut_off_is_made_up_for(tmp_path):
    hooks = {"checkpoint": {"type": "CheckpointHook", "save_best": "toy/error", "rule": "less"}}
    whole = make_runner(tmp_path / "whole", default_hooks=hooks)
    whole.train()
    broken = make_runner(tmp_path / "broken", default_hooks=hooks)
    broken.val_loop.run = lambda: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        broken.train()
    resumed = make_runner(tmp_path / "broken", default_hooks=hooks, resume=True)
    resumed.train()
    assert resumed.message_hub.get_scalar("val/toy/error").data[0].size == 4
    assert_same(state_of(resumed), state_of(whole))


def test_files_of_initial_weights_are_not_needed_to_resume(tmp_path):
    broken = make_runner(tmp_path)
    stop_at(broken, 3 * 6)
    with pytest.raises(Killed):
        broken.train()
    resumed = make_runner(tmp_path, resume=True)
    resumed.model.init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "gone.pth")}
    resumed.train()
    assert resumed.resumed
    started = make_runner(tmp_path / "new", resume=True)  # without a checkpoint
    started.model.init_cfg = resumed.model.init_cfg
    with pytest.raises(CheckpointError, match="gone.pth does not exist"):
        started.train()


def test_resuming_a_finished_run_changes_nothing_and_still_reports(tmp_path):
    first = make_runner(tmp_path)
    first.train()
    before = json.loads((tmp_path / "metrics.json").read_text())
    again = make_runner(tmp_path, resume=True)
    again.train()
    assert_same(again.model.state_dict(), first.model.state_dict())
    after = json.loads((tmp_path / "metrics.json").read_text())
    assert after["metrics"] == before["metrics"] and after["checkpoint"].endswith("epoch_4.pth")


def test_resume_with_nothing_there_starts_fresh(tmp_path):
    runner = make_runner(tmp_path, total=1, resume="auto")
    runner.train()
    assert runner.iter == 6


def test_auto_resume_passes_over_damaged_files(tmp_path):
    make_runner(tmp_path).train()
    newest = tmp_path / "epoch_4.pth"
    newest.write_bytes(newest.read_bytes()[:-200])
    (tmp_path / "epoch_9.pth.123.tmp").write_bytes(b"half")
    resumed = make_runner(tmp_path, resume=True)
    resumed.train()
    assert resumed.loaded_from == str(tmp_path / "epoch_3.pth")
    assert not list(tmp_path.glob("*.tmp"))


def test_text_in_a_checkpoint_is_never_executed(tmp_path):
    make_runner(tmp_path, total=1).train()
    path = tmp_path / "epoch_1.pth"
    checkpoint = load_checkpoint(path)
    proof = tmp_path / "executed"
    checkpoint["meta"]["config"] = checkpoint["meta"]["cfg"] = f"import os\nos.mkdir({str(proof)!r})\n"
    save_checkpoint(checkpoint, path)
    make_runner(tmp_path, total=2, resume=True).train()
    assert not proof.exists()


def test_metrics_json(tmp_path):
    runner = make_runner(tmp_path, total=1)
    runner.train()
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["metrics"] == {"toy/error": runner.last_metrics["toy/error"]}
    assert report["checkpoint"] == str(tmp_path / "epoch_1.pth")
    assert report["seconds"] > 0 and "config" in report


def test_metrics_json_without_validation_holds_the_losses(tmp_path):
    make_runner(tmp_path, total=1, val_cfg=None, val_dataloader=None, val_evaluator=None).train()
    assert set(json.loads((tmp_path / "metrics.json").read_text())["metrics"]) == {"loss", "loss_mse", "loss_l1"}


class BrokenMetric(ToyMetric):
    def compute_metrics(self, results):
        return {"error": float("nan")}


def test_metric_that_is_no_number_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="toy/error=nan"):
        make_runner(tmp_path, total=1, val_evaluator={"type": BrokenMetric}).train()


def runner_for_test(work_dir, **options):
    config = toy_config(work_dir)
    return make_runner(
        work_dir,
        test_dataloader=config["val_dataloader"],
        test_cfg={},
        test_evaluator=config["val_evaluator"],
        custom_hooks=[],
        **options,
    )


def test_test_writes_metrics_and_refuses_another_model(tmp_path):
    make_runner(tmp_path, total=1).train()
    path = str(tmp_path / "epoch_1.pth")
    metrics = runner_for_test(tmp_path / "test", load_from=path).test()
    report = json.loads((tmp_path / "test/metrics.json").read_text())
    assert report["metrics"] == metrics and report["checkpoint"] == path
    other = {"type": ToyModel, "width": 5}
    with pytest.raises(CheckpointError, match="another model"):
        runner_for_test(tmp_path / "test", load_from=path, model=other).test()
    with pytest.raises(CheckpointError, match="another model"):
        make_runner(tmp_path / "new", model=other, custom_hooks=[], resume=path).train()


def test_load_from_keeps_what_fits(tmp_path):
    make_runner(tmp_path, total=1, custom_hooks=[]).train()
    path = tmp_path / "epoch_1.pth"
    weights = load_checkpoint(path)["state_dict"]
    changed = dict(weights) | {"head.weight": torch.zeros(7, 8), "head.bias": torch.zeros(7)}
    save_checkpoint({"state_dict": changed}, tmp_path / "other_head.pth")
    runner = make_runner(tmp_path / "new", total=1, load_from=str(tmp_path / "other_head.pth"), custom_hooks=[])
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.load_or_resume()
    assert torch.equal(runner.model.state_dict()["encoder.0.weight"], weights["encoder.0.weight"])


def test_best_checkpoints_cannot_be_resumed(tmp_path):
    hooks = {"checkpoint": {"type": "CheckpointHook", "save_best": "auto", "rule": "less"}}
    make_runner(tmp_path, total=1, default_hooks=hooks).train()
    best = next(tmp_path.glob("best_*.pth"))
    with pytest.raises(CheckpointError, match="optimizer"):
        make_runner(tmp_path, resume=str(best)).train()


def test_other_schedulers_cannot_be_resumed(tmp_path):
    make_runner(tmp_path, total=1).train()
    with pytest.raises(CheckpointError, match="2 parameter schedulers, the config has 1"):
        make_runner(tmp_path, resume=True, param_scheduler={"type": "LinearLR"}).train()


def test_reading_data_does_not_move_the_global_random_state(tmp_path):
    runner = make_runner(tmp_path, workers=2)
    loader = runner.build_dataloader(toy_config(tmp_path, workers=2)["train_dataloader"], seed=1)
    before = torch.get_rng_state()
    for _ in loader:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_persistent_workers_can_be_left_on_without_workers(tmp_path):
    loader = toy_config(tmp_path)["train_dataloader"] | {"persistent_workers": True, "prefetch_factor": 2}
    assert len(make_runner(tmp_path).build_dataloader(loader, seed=1)) == 6


def test_missing_sampler_and_work_dir_are_named(tmp_path):
    runner = make_runner(tmp_path)
    with pytest.raises(ConfigError, match="sampler"):
        runner.build_dataloader({"dataset": {"type": "ToyDataset", "pipeline": [plain]}, "batch_size": 1})
    config = toy_config(tmp_path)
    del config["work_dir"]
    with pytest.raises(ConfigError, match="--work-dir"):
        type(runner).from_cfg(config)


def test_default_hooks_can_be_changed_and_dropped(tmp_path):
    runner = make_runner(tmp_path, default_hooks={"logger": None, "timer": None, "nan_guard": {"type": "NanGuardHook"}})
    names = [type(hook).__name__ for hook in runner.hooks]
    assert "LoggerHook" not in names and "IterTimerHook" not in names and "RandomStateHook" in names


@pytest.mark.parametrize("checkpoint", [{"save_best": "nothing"}, {"save_best": "toy/error", "rule": "bigger"}])
def test_settings_that_a_hook_refuses_are_one_message(tmp_path, checkpoint):
    with pytest.raises(ConfigError, match="CheckpointHook.* cannot be built"):
        make_runner(tmp_path, default_hooks={"checkpoint": {"type": "CheckpointHook", **checkpoint}})
    with pytest.raises(ConfigError, match="LoggerHook.* cannot be built: interval must be greater than 0"):
        make_runner(tmp_path, default_hooks={"logger": {"type": "LoggerHook", "interval": 0}})


def test_keys_of_a_config_file_may_be_none(tmp_path):
    """As `load_from` is when a run is resumed: the key counts as missing."""
    cfg = load_config(HELPERS / "toy_config.py")
    cfg.load_from, cfg.work_dir, cfg.custom_hooks = None, str(tmp_path), None
    assert type(Runner.from_cfg(cfg)) is Runner and cfg.load_from is None


def test_subnormal_numbers_are_zero_on_the_cpu(tmp_path):
    small = torch.full((64,), 1.2e-38)
    torch.set_flush_denormal(False)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)
    assert (small * 0.5 > 0).all()
    make_runner(tmp_path)
    try:
        assert (small * 0.5 == 0).all()
    finally:
        torch.set_flush_denormal(False)
