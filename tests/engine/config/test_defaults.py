"""Test that test settings default to those of validation."""

import pytest
from mmengine.config import Config

from tests.helpers.toy_run import ToyMetric, make_runner, toy_config
from vislab.apis import test
from vislab.engine.config.check import check_config
from vislab.engine.config.defaults import set_test_defaults
from vislab.engine.config.load import load_config
from vislab.errors import ConfigError

VALIDATION = """
from vislab.datasets.samplers import EpochSampler
from vislab.datasets.scenes import Scenes
from vislab.evaluation.semantic import SemSegMetric

model = dict(type="ImageClassifier", name="resnet18", num_classes=3)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type=EpochSampler, shuffle=False), dataset=dict(type=Scenes, size=64)
)
val_cfg = dict(type="ValLoop", amp=True)
val_evaluator = dict(type=SemSegMetric)
"""


def write(tmp_path, text=VALIDATION):
    (tmp_path / "config.py").write_text(text)
    return tmp_path / "config.py"


def test_missing_sections_are_copies_of_validation():
    loader, evaluator = {"batch_size": 1, "dataset": {"length": 2}}, [{"type": "A"}]
    cfg = {"val_dataloader": loader, "val_cfg": {"type": "ValLoop", "amp": True}, "val_evaluator": evaluator}
    set_test_defaults(cfg)
    assert cfg["test_dataloader"] == loader and cfg["test_evaluator"] == evaluator
    assert cfg["test_cfg"] == {"amp": True}  # the loop of a test is TestLoop
    cfg["test_dataloader"]["dataset"]["length"] = 3
    assert loader["dataset"]["length"] == 2


def test_given_sections_win_and_nothing_comes_from_nothing():
    cfg = {"val_dataloader": {"batch_size": 1}, "val_evaluator": {"type": "A"}, "test_evaluator": {"type": "B"}}
    set_test_defaults(cfg)
    assert (cfg["test_dataloader"], cfg["test_evaluator"]) == ({"batch_size": 1}, {"type": "B"})
    assert "test_cfg" not in cfg
    cfg = {"train_dataloader": {}}
    set_test_defaults(cfg)
    assert cfg == {"train_dataloader": {}}


def test_the_config_stays_as_written(tmp_path):
    cfg = load_config(write(tmp_path), {"val_dataloader.batch_size": 4})
    assert not {"test_dataloader", "test_cfg", "test_evaluator"} & set(cfg)
    set_test_defaults(cfg)
    assert cfg.test_dataloader.batch_size == 4  # what is set for validation reaches the test
    assert cfg.test_dataloader.dataset.type is cfg.val_dataloader.dataset.type


def test_an_option_inside_a_missing_section_changes_a_copy_of_validation(tmp_path):
    options = {"test_dataloader.batch_size": 2, "val_dataloader.dataset.size": 32, "test_cfg.amp": False}
    cfg = load_config(write(tmp_path), options)
    assert (cfg.test_dataloader.batch_size, cfg.val_dataloader.batch_size) == (2, 1)
    assert cfg.test_dataloader.dataset.size == 32  # although it stands after the test's option
    assert cfg.test_cfg == {"amp": False} and cfg.val_cfg.amp is True and "test_evaluator" not in cfg
    check_config(cfg, files=False)
    with pytest.raises(ConfigError, match=r"test_dataloader\.batch_sise: .*did you mean 'batch_size'"):
        load_config(write(tmp_path), {"test_dataloader.batch_sise": 2})


def test_an_explicit_section_is_not_based_on_validation(tmp_path):
    text = VALIDATION + "test_dataloader = dict(val_dataloader, batch_size=8)\n"
    cfg = load_config(write(tmp_path, text), {"val_dataloader.num_workers": 3, "test_dataloader.drop_last": False})
    assert (cfg.test_dataloader.batch_size, cfg.test_dataloader.num_workers) == (8, 0)


def test_a_section_that_no_base_sets_cannot_be_updated(tmp_path):
    message = r"config\.py, line \d+: 'test_dataloader' is not defined: .* set test_dataloader = dict\(val_dataloader, "
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, VALIDATION + "test_dataloader.update(batch_size=2)\n"))


def test_check_knows_what_testing_uses(tmp_path):
    check_config(load_config(write(tmp_path, VALIDATION + 'test_evaluator = dict(type="SemSegMetric")\n')), files=False)
    part = VALIDATION.replace("val_", "test_").replace("test_evaluator", "val_evaluator").replace("ValL", "TestL")
    with pytest.raises(ConfigError, match=r"val_dataloader\s+is needed together with val_evaluator") as caught:
        check_config(load_config(write(tmp_path, part)), files=False)
    assert "test_evaluator" not in str(caught.value)  # validation has one
    with pytest.raises(ConfigError, match=r"test_evaluator\s+is needed together with test_dataloader and test_cfg"):
        check_config(load_config(write(tmp_path, part.split("val_evaluator")[0])), files=False)


def test_without_validation_there_is_nothing_to_test_on(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(ConfigError, match="neither test_dataloader nor val_dataloader"):
        test(Config({"model": {"type": "M"}}), tmp_path / "a.pth", work_dir=tmp_path)


def test_a_runner_tests_on_its_validation(tmp_path):
    runner = make_runner(tmp_path, total=1, custom_hooks=[])
    runner.train()
    validated = dict(runner.last_metrics)
    assert runner.test() == validated and "toy/error" in validated
    assert runner.test_loop.stage == "test" and "test_dataloader" not in runner.cfg


def test_a_runner_prefers_its_own_test_settings(tmp_path):
    evaluator = {"type": ToyMetric, "prefix": "other"}
    runner = make_runner(tmp_path, total=1, custom_hooks=[], test_evaluator=evaluator)
    runner.train()
    assert set(runner.test()) == {"other/error"}
    assert runner.test_dataloader.batch_size == toy_config(tmp_path)["val_dataloader"]["batch_size"]
