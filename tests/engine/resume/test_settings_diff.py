"""Test differences of settings: those that change training are listed, location and speed are not."""

from pathlib import Path

from torch.optim import SGD

from tests.helpers.toy_run import ToyModel
from vislab.engine.resume.settings_diff import differences, plain_settings


def diff(then, now) -> list[str]:
    return list(differences(plain_settings(then), plain_settings(now)))


def test_settings_become_plain():
    given = {
        "model": {"type": ToyModel, "width": 8, "act": len, "path": Path("a/b"), "sizes": (1, [2.5])},
        "work_dir": "x", "train_dataloader": {"num_workers": 4, "batch_size": 2}, 7: None, "made": object(),
    }  # fmt: skip
    assert plain_settings(given) == {
        "model": {
            "type": "tests.helpers.toy_run.ToyModel", "width": 8, "act": "builtins.len", "path": "a/b",
            "sizes": [1, [2.5]],
        },
        "train_dataloader": {"batch_size": 2}, "7": None, "made": "builtins.object",
    }  # fmt: skip


def test_lists_of_components_are_compared_by_class():
    """One transform more in front does not make all of them differ."""
    flip, resize = {"type": "RandomFlip", "prob": 0.5}, {"type": "vislab.Resize", "size": 4}
    assert diff({"pipeline": [resize, resize]}, {"pipeline": [flip, resize, resize]}) == [
        "pipeline.RandomFlip: (not there) -> {'prob': 0.5}"
    ]
    assert diff({"pipeline": [resize, resize]}, {"pipeline": [resize, resize | {"size": 8}]}) == [
        "pipeline.Resize#2.size: 4 -> 8"
    ]
    assert diff({"hooks": [{"type": "A"}]}, {"hooks": []}) == ["hooks: default settings -> []"] or diff(
        {"hooks": [{"type": "A"}]}, {"hooks": []}
    ) == ["hooks: {'A': {'type': 'A'}} -> []"]


def test_what_is_one_thing_is_no_difference():
    assert not diff({"model": {"type": ToyModel}}, {"model": {"type": "ToyModel"}})
    assert not diff({"a": None}, {}) and not diff({}, {"a": None})  # None is what an absent setting means
    assert not diff({"work_dir": "a", "resume": True}, {"work_dir": "b", "launcher": "x"})
    assert diff({"a": 0}, {"a": None}) == ["a: 0 -> None"]


def test_optimizers_and_schedules_are_told_elsewhere():
    then = {"optim_wrapper": {"optimizer": {"type": SGD, "lr": 0.1}, "accumulative_counts": 1}, "param_scheduler": []}
    now = {"optim_wrapper": {"optimizer": {"type": SGD, "lr": 0.2}, "accumulative_counts": 2}, "param_scheduler": [1]}
    assert diff(then, now) == ["optim_wrapper.accumulative_counts: 1 -> 2"]


def test_long_values_are_shortened():
    (text,) = diff({"a": "x" * 100}, {"a": 1})
    assert text == f"a: {'x' * 57}... -> 1"
