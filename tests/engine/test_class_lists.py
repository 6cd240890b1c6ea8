"""Test the comparison of class lists: within a loader, between splits, with the model and with the checkpoint."""

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset

from tests.helpers.toy_run import ToyMetric, make_runner, plain
from vislab.datasets.base import BaseDataset
from vislab.engine import class_lists
from vislab.engine.class_lists import build_dataset, check_class_lists, warn_other_classes
from vislab.engine.runner import Runner
from vislab.errors import CheckpointError, ConfigError

ABC = ("a", "b", "c")
MODEL = {"model": {"type": "M", "head": {"num_classes": 3}}}


class Named(BaseDataset):
    """Points as ToyDataset has them, with a list of class names."""

    def __init__(self, *, classes=ABC, pipeline=(plain,)) -> None:
        metainfo = None if classes is None else {"classes": classes}
        super().__init__(metainfo=metainfo, pipeline=pipeline, serialize_data=False)

    def load_data_list(self) -> list[dict]:
        return [{"point": point} for point in np.eye(4, dtype=np.float32)]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a", "c"), r"others, and labels are places in the list of names; it lacks 'b'\."),
        (("a", "b", "d"), r"it lacks 'c'; it has 'd' besides"),
        (("a", "c", "b"), r"the order differs: label 1 is 'b' there and 'c' here"),
        (("A", "b", "c"), r"it lacks 'a'; it has 'A' besides"),
    ],
)
def test_other_classes_are_refused_with_the_remedy(classes, message):
    datasets = {"training": Named(), "validation": Named(classes=classes)}
    with pytest.raises(ConfigError, match=message) as caught:
        check_class_lists(MODEL, datasets)
    assert "metainfo=dict(classes=[...])" in str(caught.value) and "validation data, Named" in str(caught.value)


def test_what_is_alike_or_names_nothing_passes():
    check_class_lists(MODEL, {"training": Named(), "validation": Named(), "test": Named(classes=list(ABC))})
    check_class_lists(MODEL, {"training": Named(), "validation": Named(classes=None)})
    pretraining = {"model": {"type": "Encoder", "num_classes": 0}}  # predicts no class: names do not matter
    check_class_lists(pretraining, {"training": Named(), "validation": Named(classes=("x",))})


def test_the_models_count_is_compared_for_every_split():
    with pytest.raises(ConfigError, match=r"model\.head\.num_classes = 3\s+training data, Named has 2 classes"):
        check_class_lists(MODEL, {"training": Named(classes=("a", "b"))})
    with pytest.raises(
        ConfigError, match=r"num_classes = 3, which is another.* test data, Named: 2 classes(?s:.*)metainfo"
    ):
        check_class_lists(MODEL, {"test": Named(classes=("a", "b"))})


def test_wrappers_are_opened():
    short, torch_concat = Named(classes=("a", "b")), torch.utils.data.ConcatDataset
    assert [found.names for found in class_lists.class_lists(RepeatDataset(Named(), times=2))] == [ABC]
    assert [found.names for found in class_lists.class_lists(torch.utils.data.Subset(Named(), [0]))] == [ABC]
    assert [found.names for found in class_lists.class_lists(torch_concat([Named(), short]))] == [ABC, ("a", "b")]
    assert class_lists.dataset_meta(torch_concat([Named(), short]))["classes"] == ABC
    with pytest.raises(ConfigError, match="read as one name other classes.*it lacks 'c'"):
        check_class_lists(MODEL, {"training": torch_concat([Named(), short])})
    with pytest.raises(ConfigError, match="validation data are others"):
        check_class_lists(MODEL, {"training": Named(), "validation": RepeatDataset(short, times=1)})


def test_a_concatenation_of_other_classes_is_one_clear_error():
    parts = [{"type": Named}, {"type": Named, "classes": ("a", "d", "c")}]
    with pytest.raises(ConfigError, match="it lacks 'b'; it has 'd' besides"):
        build_dataset({"type": ConcatDataset, "datasets": parts})
    assert len(build_dataset({"type": ConcatDataset, "datasets": [parts[0]] * 2})) == 8
    with pytest.raises(TypeError, match="lenght"):  # other errors stay what they are
        build_dataset({"type": ConcatDataset, "datasets": [{"type": Named, "lenght": 3}]})


def _run(folder, train=ABC, val=ABC, test=None, **options) -> Runner:
    def loader(classes, size):
        sampler = {"type": "EpochSampler", "shuffle": False}
        return {"dataset": {"type": Named, "classes": classes}, "sampler": sampler, "batch_size": size}

    parts = {"train_dataloader": loader(train, 4), "val_dataloader": loader(val, 4)}
    if test is not None:
        parts |= {"test_dataloader": loader(test, 4), "test_cfg": {}, "test_evaluator": {"type": ToyMetric}}
    return make_runner(folder, total=1, param_scheduler=[], custom_hooks=[], **parts, **options)


def test_runs_compare_splits_and_checkpoints(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="validation data are others.*it lacks 'b'"):
        _run(tmp_path, val=("a", "c")).train()
    _run(tmp_path).train()
    file = str(tmp_path / "epoch_1.pth")
    assert _run(tmp_path / "test", test=ABC, load_from=file).test()["toy/error"] >= 0
    with pytest.raises(CheckpointError, match=r"epoch_1\.pth was trained on other classes.*it has 'd' besides"):
        _run(tmp_path / "test", test=("a", "b", "d"), load_from=file).test()
    with pytest.raises(CheckpointError, match="the order differs"):
        _run(tmp_path / "resumed", train=("c", "b", "a"), val=("c", "b", "a"), resume=file).train()
    tuned = _run(tmp_path / "tuned", train=("d", "e", "f"), val=("d", "e", "f"), load_from=file)
    warnings = []
    monkeypatch.setattr(tuned.logger, "warning", lambda text, *args: warnings.append(text))
    tuned.train()
    assert any("other classes" in text and "fine-tuning" in text for text in warnings)


def test_prediction_says_other_classes(monkeypatch):
    said = []
    monkeypatch.setattr(class_lists, "print_log", lambda text, **options: said.append(text))
    warn_other_classes({"classes": ABC}, {"classes": list(ABC)}, "a.pth")
    warn_other_classes({}, {"classes": ABC}, "a.pth")
    assert said == []
    warn_other_classes({"classes": ("a", "c", "b")}, {"classes": ABC}, "a.pth")
    assert "named as in the checkpoint" in said[0] and "order differs" in said[0]
