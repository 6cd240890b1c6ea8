"""Test the probe during training: metrics, interval, unchanged training, resuming, refused settings."""

import json

import pytest
import torch
from mmengine.config import Config

from tests.apis.test_probing_inputs import CLASSIFIER
from tests.engine.test_features import write_images
from vislab.apis.build import checked
from vislab.engine.hooks import ProbeHook
from vislab.engine.runner import Runner
from vislab.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        write_images(tmp_path / "data" / split, count=12)
    return tmp_path


_runs = 0


def config(folder, name: str, *hooks: dict, epochs: int = 3, **more) -> Config:
    global _runs
    _runs += 1
    steps = [{"type": "LoadImage"}, {"type": "RandomFlip", "prob": 0.5}, {"type": "PackInputs"}]
    loaders = {}
    for split in ("train", "val"):
        dataset = {"type": "ImageFolder", "data_root": str(folder / "data"), "split": split, "pipeline": steps}
        sampler = {"type": "EpochSampler", "shuffle": split == "train"}
        loaders[f"{split}_dataloader"] = {"dataset": dataset, "batch_size": 4, "num_workers": 0, "sampler": sampler}
    return Config(
        {
            "model": CLASSIFIER,
            "default_scope": "vislab",
            **loaders,
            "train_cfg": {"by_epoch": True, "max_epochs": epochs, "val_interval": 1},
            "val_cfg": {},
            "val_evaluator": {"type": "Accuracy", "topk": 1},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
            "custom_hooks": list(hooks),
            "work_dir": str(folder / name),
            "experiment_name": f"probe{_runs}",
            "log_level": "WARNING",
            "randomness": {"seed": 0},
            **more,
        }
    )


def hook(folder, **settings) -> dict:
    steps = [{"type": "LoadImage"}, {"type": "PackInputs"}]
    root = {"type": "ImageFolder", "data_root": str(folder / "data"), "pipeline": steps}
    sets = {"train_dataset": {**root, "split": "train"}, "test_dataset": {**root, "split": "val"}}
    return {"type": "ProbeHook", **sets, **settings}


def train(cfg: Config) -> Runner:
    runner = Runner.from_cfg(checked(cfg))
    runner.train()
    return runner


def test_the_accuracy_is_a_metric_and_training_does_not_change(folder):
    curves = {"type": "CurveHook", "metrics": ["probe/knn"]}
    probed = train(config(folder, "probed", hook(folder, train=20, test=10), curves))
    plain = train(config(folder, "plain"))
    metrics = json.loads((folder / "probed/metrics.json").read_text())["metrics"]
    assert 0 <= metrics["probe/knn"] <= 100 and "accuracy/top1" in metrics
    assert len(probed.message_hub.get_info("curves")["probe/knn"]) == 3
    state = plain.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in probed.model.state_dict().items())


@pytest.mark.parametrize("kind, feature", [pytest.param("linear", "class", marks=pytest.mark.slow), ("knn", "mean")])
def test_kinds_and_interval(folder, kind, feature):
    cfg = config(folder, "run", hook(folder, kind=kind, feature=feature, interval=2))
    history = train(cfg).message_hub.get_scalar(f"val/probe/{kind}").data
    assert len(history[0]) == 2  # of three validations


def test_resuming_continues_the_count(folder):
    given = hook(folder, interval=2)
    train(config(folder, "run", given, epochs=1))
    again = config(folder, "run", given, epochs=3, resume=True, load_from=str(folder / "run/epoch_1.pth"))
    values, _ = train(again).message_hub.get_scalar("val/probe/knn").data
    assert len(values) == 2  # the first and the third validation


@pytest.mark.parametrize(
    "reader", [{"type": "EarlyStoppingHook", "monitor": "probe/knn", "rule": "greater"}, {"save_best": "probe/knn"}]
)
def test_hooks_that_read_the_accuracy_need_it_at_each_validation(folder, reader):
    hooks = {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "rule": "greater", **reader}}}
    others, more = ([reader], {}) if "type" in reader else ([], hooks)
    with pytest.raises(ConfigError, match=r"reads probe/knn after each validation, .*interval=2 .*set interval=1"):
        train(config(folder, "run", hook(folder, interval=2), *others, **more))
    assert not list((folder / "run").glob("*.pth"))  # refused before the first step
    if more:
        train(config(folder, "other", hook(folder), epochs=1, **more))
        assert list((folder / "other").glob("best_probe_knn_epoch_1.pth"))


def test_invalid_settings_are_refused(folder):
    with pytest.raises(ConfigError, match="kind='svm'"):
        ProbeHook(train_dataset={}, test_dataset={}, kind="svm")
    with pytest.raises(ConfigError, match="at least 1"):
        ProbeHook(train_dataset={}, test_dataset={}, interval=0)
    wrong = hook(folder)
    wrong["train_dataset"] = {**wrong["train_dataset"], "splt": "train"}
    with pytest.raises(ConfigError, match="custom_hooks.0.train_dataset.splt"):
        checked(config(folder, "run", wrong))
    with pytest.raises(ConfigError, match="probe/knx"):
        checked(config(folder, "run", hook(folder), {"type": "CurveHook", "metrics": ["probe/knx"]}))
    with pytest.raises(ConfigError, match="probe/linear"):  # the hook adds probe/knn
        checked(config(folder, "run", hook(folder), {"type": "CurveHook", "metrics": ["probe/linear"]}))
