"""Test that `--resume` selects the checkpoint of the run started last in the folder."""

import os
import shutil

import pytest
import torch

import vislab.engine  # noqa: F401  (installs the loaders)
from tests.helpers.toy_run import broken_run, make_runner
from vislab.engine.resume.latest import find_latest_checkpoint, resumable_checkpoints
from vislab.errors import CheckpointError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_the_pointer_wins_and_only_its_name_counts(tmp_path):
    for step in (1, 2, 3, 9):
        save_checkpoint({"w": torch.zeros(1)}, tmp_path / f"epoch_{step}.pth")
    save_checkpoint({"w": torch.zeros(1)}, tmp_path / "iter_40.pth")
    for text in ("/somewhere/else/epoch_3.pth\n", r"C:\runs\epoch_3.pth", "epoch_3.pth"):
        (tmp_path / "last_checkpoint").write_text(text)
        assert names(resumable_checkpoints(tmp_path)) == ["epoch_3.pth", "epoch_2.pth", "epoch_1.pth"]
    (tmp_path / "epoch_3.pth").write_bytes(b"PK damaged")
    assert find_latest_checkpoint(tmp_path).name == "epoch_2.pth"
    (tmp_path / "last_checkpoint").write_text("")
    assert find_latest_checkpoint(tmp_path).name == "epoch_9.pth"  # as without a pointer


def test_new_run_over_an_old_one(tmp_path):
    make_runner(tmp_path, total=4).train()
    broken_run(tmp_path, 8, total=4, randomness={"seed": 99})
    resumed = make_runner(tmp_path, total=2, resume=True, randomness={"seed": 99})
    resumed.train()
    assert resumed.loaded_from.endswith("epoch_1.pth")
    assert load_checkpoint(tmp_path / "epoch_2.pth")["meta"]["seed"] == 99


def test_new_run_that_saved_nothing_is_not_taken_for_the_old_one(tmp_path):
    make_runner(tmp_path, total=2).train()
    broken_run(tmp_path, 3, total=2)
    with pytest.raises(CheckpointError, match="saved no checkpoint; epoch_1.pth, epoch_2.pth belong to an earlier run"):
        make_runner(tmp_path, total=2, resume=True).train()
    resumed = make_runner(tmp_path, total=3, resume=str(tmp_path / "epoch_2.pth"))
    resumed.train()
    assert resumed.iter == 18


def test_nothing_to_resume_starts_from_the_weights_of_the_config(tmp_path):
    make_runner(tmp_path / "pretraining", total=1, custom_hooks=[]).train()
    weights = str(tmp_path / "pretraining/epoch_1.pth")
    runner = make_runner(tmp_path / "new", total=1, custom_hooks=[], load_from=weights, resume="auto")
    runner.train()
    assert runner.loaded_from == weights and runner.iter == 6 and not runner.resumed


def test_new_run_that_saved_nothing_in_an_empty_folder_starts_again(tmp_path):
    broken_run(tmp_path, 3, total=1)
    runner = make_runner(tmp_path, total=1, resume=True)
    runner.train()
    assert runner.iter == 6 and runner.loaded_from is None


def test_going_back_to_an_older_checkpoint(tmp_path):
    make_runner(tmp_path, total=4).train()
    broken_run(tmp_path, 13, total=4, resume=str(tmp_path / "epoch_2.pth"))  # saved nothing yet
    assert find_latest_checkpoint(tmp_path).name == "epoch_2.pth"
    broken_run(tmp_path, 20, total=4, resume=True)
    assert find_latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_run_that_went_on_from_another_folder_and_saved_nothing(tmp_path):
    make_runner(tmp_path / "old", total=1).train()
    broken_run(tmp_path / "new", 8, total=3, resume=str(tmp_path / "old/epoch_1.pth"))
    with pytest.raises(CheckpointError, match="was resumed from .*old/epoch_1.pth and has saved no checkpoint since"):
        make_runner(tmp_path / "new", total=3, resume=True).train()


def test_all_damaged_is_no_reason_to_start_anew(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"PK half")
    with pytest.raises(CheckpointError, match="none of the checkpoints.*epoch_1.pth.*--resume CKPT"):
        make_runner(tmp_path, total=1, resume=True).train()


BEST = {"checkpoint": {"type": "CheckpointHook", "save_best": "toy/error", "rule": "less"}}


def pth(folder) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


def test_no_file_of_another_folder_is_ever_removed(tmp_path):
    old, new, copied = tmp_path / "old", tmp_path / "new", tmp_path / "copied"
    make_runner(old, total=2, default_hooks=BEST).train()
    before = {path.name: path.read_bytes() for path in old.glob("*.pth")}
    shutil.copytree(old, copied)
    make_runner(new, total=4, default_hooks=BEST, resume=str(old / "epoch_2.pth")).train()
    make_runner(copied, total=4, default_hooks=BEST, resume=True).train()
    assert {path.name: path.read_bytes() for path in old.glob("*.pth")} == before
    assert len([name for name in pth(new) if name.startswith("best")]) == 1
    assert pth(copied) == pth(new) | {"epoch_1.pth", "epoch_2.pth"}


def test_surplus_files_of_another_run_in_the_work_folder_stay(tmp_path):
    """Resuming from elsewhere into a folder in which a file of the same name stands."""
    hooks = {"checkpoint": {"type": "CheckpointHook", "max_keep_ckpts": 1}}
    make_runner(tmp_path / "old", total=2, default_hooks=hooks).train()
    make_runner(tmp_path / "new", total=2, default_hooks=hooks).train()
    before = (tmp_path / "new/epoch_2.pth").read_bytes()
    make_runner(tmp_path / "new", total=3, default_hooks=hooks, resume=str(tmp_path / "old/epoch_2.pth")).train()
    assert pth(tmp_path / "new") == {"epoch_2.pth", "epoch_3.pth"}
    assert (tmp_path / "new/epoch_2.pth").read_bytes() == before


def test_best_that_is_gone_is_sought_anew(tmp_path):
    make_runner(tmp_path, total=2, default_hooks=BEST).train()
    next(tmp_path.glob("best_*")).unlink()
    resumed = make_runner(
        tmp_path, total=3, default_hooks=BEST, resume=True, optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0}}
    )
    resumed.train()
    assert [p.name for p in tmp_path.glob("best_*")] == ["best_toy_error_epoch_3.pth"]


def test_a_finished_run_goes_to_its_new_folder(tmp_path):
    make_runner(tmp_path / "old", total=1).train()
    make_runner(tmp_path / "new", total=1, resume=str(tmp_path / "old/epoch_1.pth")).train()
    assert pth(tmp_path / "new") == {"epoch_1.pth"}


def test_without_a_pointer_latest_is_the_largest_complete_step(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    for name in ("epoch_2.pth", "epoch_10.pth", "best_x_epoch_11.pth", "epoch_12_published.pth"):
        save_checkpoint({"state_dict": {"w": torch.zeros(9)}}, tmp_path / name)
    assert find_latest_checkpoint(tmp_path).name == "epoch_10.pth"
    (tmp_path / "epoch_11.pth").write_bytes((tmp_path / "epoch_10.pth").read_bytes()[:500])
    assert find_latest_checkpoint(tmp_path).name == "epoch_10.pth"
    save_checkpoint({"a": 1}, tmp_path / "iter_3.pth")  # a run by iterations, started later in the same folder
    os.utime(tmp_path / "epoch_10.pth", (0, 0)), os.utime(tmp_path / "epoch_2.pth", (0, 0))
    os.utime(tmp_path / "epoch_11.pth", (0, 0))
    assert find_latest_checkpoint(tmp_path).name == "iter_3.pth"
