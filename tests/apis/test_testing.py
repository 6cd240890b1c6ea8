"""Test that arguments of `test` are written to the config."""

import numpy as np
import pytest
import torch

from tests.helpers.files import save_image
from tests.helpers.plain_config import plain_config
from vislab.apis import testing, train
from vislab.apis.models import create_model
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
    with pytest.raises(ConfigError, match="ends in .pkl or .pickle"):
        testing.test(plain_config(test_dataloader={"x": 1}), tmp_path / "a.pth", work_dir=tmp_path, out="a.json")
    with pytest.raises(CheckpointError, match="b.pth does not exist"):
        testing.test(plain_config(test_dataloader={"x": 1}), tmp_path / "b.pth", work_dir=tmp_path)


def camvid(root) -> None:
    """Write the part of CamVid that is tested."""
    for folder in ("val", "valannot"):
        (root / folder).mkdir(parents=True)
        save_image(root / folder / "0.png", np.full((96, 128) if "annot" in folder else (96, 128, 3), 3, np.uint8))
    (root / "val.txt").write_text("val/0.png valannot/0.png\n")


def test_neither_initial_weights_nor_training_data_are_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path))
    camvid(tmp_path / "camvid")
    name = "fpn_lite0_camvid"
    torch.save({"state_dict": create_model(name, device="cpu").state_dict()}, tmp_path / "a.pth")
    quick = {"val_dataloader.num_workers": 0, "test_dataloader.num_workers": 0}
    metrics = testing.test(name, tmp_path / "a.pth", work_dir=tmp_path / "work", cfg_options=quick)
    assert any(key.endswith("mIoU") for key in metrics)


@pytest.mark.parametrize("resume", [False, True])
def test_training_needs_them(tmp_path, monkeypatch, resume):
    """Also to resume from what is found in the work directory: there may be nothing."""
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path))
    camvid(tmp_path / "camvid")
    with pytest.raises(ConfigError, match=r"encoder\.pretrained.*tf_efficientnet_lite0_timm.*") as found:
        train("fpn_lite0_camvid", work_dir=tmp_path / "work", resume=resume)
    assert "train.txt" in str(found.value)
    torch.save({"state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=r"train\.txt") as found:
        train("fpn_lite0_camvid", work_dir=tmp_path / "work", resume=tmp_path / "a.pth")
    assert "pretrained" not in str(found.value)
