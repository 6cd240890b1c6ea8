"""Test that `--check` finds errors of the first step, writes no files and keeps no state."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from tests.helpers.toy_run import Jitter, ToyDataset, ToyMetric, ToyModel, make_runner, plain, toy_config
from vislab.engine.first_step import take_first_step
from vislab.errors import ConfigError, DataError, TrainingError


class Plain:
    def __call__(self, results):
        return plain(results)


def first_step(folder, **changes):
    cfg = toy_config(folder / "work", **changes)
    for split, step in (("train", Jitter), ("val", Plain)):
        cfg[f"{split}_dataloader"]["dataset"]["pipeline"] = [{"type": step}]
    return take_first_step(Config(named(cfg)))


def named(node):
    """The names of classes in place of the classes, as in a config that is written into a work folder."""
    if isinstance(node, dict):
        return {key: named(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(named(value) for value in node)
    return f"{node.__module__}.{node.__qualname__}" if isinstance(node, type) else node


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_right_run_passes_and_nothing_is_written(tmp_path, by_epoch, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    tables = [set(kind._instance_dict) for kind in (MMLogger, MessageHub, Visualizer)]
    found = first_step(tmp_path, by_epoch=by_epoch, total=20)
    assert found["loss"] > 0 and found["parameters"] == found["trained_parameters"] == 92
    assert (found["train_batches"], found["val_batches"]) == (6, 3)
    assert found["val_metrics"].startswith("toy/error: ")
    assert not list(tmp_path.glob("vislab_check_*")) and not (tmp_path / "work").exists()
    assert [set(kind._instance_dict) for kind in (MMLogger, MessageHub, Visualizer)] == tables


def test_the_optimizer_makes_its_step(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, closure=None: steps.append(len(self.param_groups)))
    first_step(tmp_path)
    assert steps == [1]


class Explodes(ToyModel):
    def forward(self, inputs, data_samples=None, mode="tensor"):
        found = super().forward(inputs, data_samples, mode)
        return {key: value / 0 for key, value in found.items()} if mode == "loss" else found


class Strange(ToyMetric):
    def process(self, data_batch, data_samples):
        raise DataError("a sample has no error")


class Labeled(ToyDataset):
    METAINFO = {"classes": ("a", "b", "c")}


class Classifier(ToyModel):
    def __init__(self, *, num_classes: int) -> None:
        super().__init__()


def loader(dataset=ToyDataset, **arguments):
    sampler = {"type": "EpochSampler", "shuffle": False}
    return {
        "dataset": {"type": dataset, "pipeline": [{"type": Plain}], **arguments},
        "sampler": sampler,
        "batch_size": 8,
    }


LAYERS = {"constructor": "LayerDecayOptimConstructor", "paramwise_cfg": {"layer_decay": 1.0, "lr_mult": {"neck": 1.0}}}
FAULTS = {
    "rate of a part that is not there": (
        {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}, **LAYERS}},
        ConfigError,
        "no parameter begins with 'neck'.*encoder, head.*assign",
    ),
    "best by a metric that is not there": (
        {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "save_best": "mIoU", "rule": "greater"}}},
        ConfigError,
        "save_best='mIoU'.*It has: toy/error",
    ),
    "loss": ({"model": {"type": Explodes}}, TrainingError, "loss is not finite"),
    "metric": ({"val_evaluator": {"type": Strange}}, DataError, "has no error"),
    "too little data": (
        {"train_dataloader": {**loader(length=3), "drop_last": True}},
        ConfigError,
        "3 samples, fewer than one batch",
    ),
    "classes of the validation data": (
        {"model": {"type": Classifier, "num_classes": 2}, "val_dataloader": loader(Labeled)},
        ConfigError,
        "validation data.*3 classes: 'a', 'b', 'c'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_first_step(tmp_path, fault):
    changes, kind, message = FAULTS[fault]
    with pytest.raises(kind, match=f"(?s){message}"):
        first_step(tmp_path, **changes)
    assert not (tmp_path / "work").exists()


def test_a_checkpoint_is_resumed_from_and_left_alone(tmp_path):
    make_runner(tmp_path / "work", total=1).train()
    before = {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("*")}
    first_step(tmp_path, resume=True)
    assert {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("*")} == before
    with pytest.raises(Exception, match="head.weight|encoder.0.weight"):
        first_step(tmp_path, resume=True, model={"type": ToyModel, "width": 5})


def test_without_training_only_the_test_is_made(tmp_path):
    cfg = {"model": {"type": ToyModel}, "work_dir": str(tmp_path / "w"), "test_cfg": {}, "log_level": "WARNING"}
    cfg |= {"test_dataloader": loader(), "test_evaluator": {"type": ToyMetric}}
    found = take_first_step(Config(named(cfg)))
    assert found["test_batches"] == 3 and "toy/error" in found["test_metrics"] and "loss" not in found


def test_services_hear_nothing_of_a_check(tmp_path):
    backends = [{"type": "WandbVisBackend"}, {"type": "LocalVisBackend"}]
    assert first_step(tmp_path, visualizer={"type": "Visualizer", "vis_backends": backends})["loss"] > 0


def test_a_training_after_a_check_has_its_own_logs(tmp_path):
    first_step(tmp_path)
    runner = make_runner(tmp_path / "work", total=1)
    runner.train()
    assert (tmp_path / "work" / "metrics.json").is_file() and runner.iter == 6
