"""Test that arguments of `test` are written to the config."""

import pytest
import torch

from tests.helpers.plain_config import plain_config
from vislab.apis import testing
from vislab.apis.testing import _draw_all, _use_tta
from vislab.errors import CheckpointError, ConfigError


def test_tta_wraps_the_model_and_swaps_the_pipeline():
    loader = {"dataset": {"type": "Repeat", "dataset": {"type": "D", "pipeline": ["a"]}}}
    cfg = plain_config(test_dataloader=loader, tta_model={"type": "T"}, tta_pipeline=["b"])
    _use_tta(cfg)
    assert cfg.model == {"type": "T", "module": {"type": "M"}}
    assert cfg.test_dataloader.dataset.dataset.pipeline == ["b"]
    with pytest.raises(ConfigError, match="no tta_model and no tta_pipeline"):
        _use_tta(plain_config(test_dataloader=loader))


def test_all_predictions_are_drawn_by_one_hook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = plain_config(custom_hooks=[{"type": "EMAHook"}, {"type": "VisualizationHook", "interval": 3}])
    _draw_all(cfg, "shown")
    assert cfg.custom_hooks == [{"type": "EMAHook"}]
    assert cfg.default_hooks["visualization"] == {
        "type": "VisualizationHook", "test_out_dir": str(tmp_path / "shown")
    }  # fmt: skip


def test_what_a_test_cannot_do_is_said_before_it_runs(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="test_dataloader"):
        testing.test(plain_config(), tmp_path / "a.pth", work_dir=tmp_path)
    with pytest.raises(ConfigError, match="predictions are written as .pkl"):
        testing.test(plain_config(test_dataloader={"x": 1}), tmp_path / "a.pth", work_dir=tmp_path, out="a.json")
    with pytest.raises(CheckpointError, match="b.pth does not exist"):
        testing.test(plain_config(test_dataloader={"x": 1}), tmp_path / "b.pth", work_dir=tmp_path)
