"""Test loading and preparing configs, and building models with weights."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from tests.helpers.plain_config import plain_config
from vislab.apis.build import build_model, existing, load, prepare
from vislab.apis.models import create_model
from vislab.errors import CheckpointError, ConfigError
from vislab.models.preprocessor import ImagePreprocessor


def test_run_settings(tmp_path):
    cfg = prepare(plain_config(randomness={"deterministic": True}), work_dir=tmp_path, seed=5, launcher="pytorch")
    assert (cfg.work_dir, cfg.launcher) == (str(tmp_path), "pytorch")
    assert cfg.randomness == {"deterministic": True, "seed": 5}
    assert prepare(plain_config()).work_dir == "work_dirs/notebook"
    assert prepare(plain_config(work_dir="mine")).work_dir == "mine"
    with pytest.raises(ConfigError, match="launcher='ssh'"):
        prepare(plain_config(), launcher="ssh")


def test_a_loaded_config_is_changed_by_its_owner():
    cfg = plain_config()
    assert load(cfg) is cfg and load(cfg, {}) is cfg
    with pytest.raises(ConfigError, match="cfg_options apply to a config file"):
        load(cfg, {"model.type": "N"})


def test_checkpoints_are_looked_for_at_once(tmp_path, monkeypatch):
    (tmp_path / "a.pth").touch()
    monkeypatch.setenv("WEIGHTS_HERE", str(tmp_path))
    for name in (tmp_path / "a.pth", "$WEIGHTS_HERE/a.pth", "https://example.org/gone.pth"):
        assert existing(name) == str(name)
    with pytest.raises(CheckpointError, match="b.pth does not exist. In the same folder: a.pth"):
        existing(tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        existing(tmp_path)


class Scale(BaseModel):
    """One number, which `init_weights` sets to 3."""

    def __init__(self, data_preprocessor=None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.factor = torch.nn.Parameter(torch.zeros(1))

    def init_weights(self) -> None:
        self.factor.data.fill_(3)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return self.factor


def test_models_are_built_with_initial_or_given_weights(tmp_path):
    cfg = Config(
        {
            "model": {"type": Scale},
            "data_preprocessor": {"type": ImagePreprocessor, "mean": [0.5] * 3, "std": [0.2] * 3},
        }
    )
    model = build_model(cfg, device="cpu")
    assert model.factor.item() == 3 and not model.training
    assert isinstance(model.data_preprocessor, ImagePreprocessor) and "data_preprocessor" not in cfg.model
    torch.save({"state_dict": {"factor": torch.full((1,), 5.0)}}, tmp_path / "a.pth")
    assert build_model(cfg, tmp_path / "a.pth", device="cpu").factor.item() == 5
    torch.save({"state_dict": {"other": torch.ones(1)}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="b.pth belongs to another model than Scale"):
        build_model(cfg, tmp_path / "b.pth", device="cpu")
    with pytest.raises(ConfigError, match="nowhere"):
        build_model(cfg, device="nowhere")


def test_a_checkpoint_suffices_without_the_files_of_initial_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path / "nowhere"))
    name = "fpn_lite0_camvid"
    model = create_model(name, device="cpu")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pth")
    loaded = build_model(name, tmp_path / "a.pth", "cpu").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())
    with pytest.raises(CheckpointError, match="tf_efficientnet_lite0_timm.safetensors does not exist"):
        build_model(name, device="cpu")


def test_a_teacher_that_is_not_in_the_checkpoint_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path / "nowhere"))
    for name, file in (("cae_vit_cifar10_features_cpu", "tf_efficientnet_lite0"), ("cae_vit_cifar10_dalle", "dalle")):
        monkeypatch.chdir(tmp_path)
        torch.save({"state_dict": create_model(name, device="cpu").state_dict()}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=f"{file}.* does not exist"):
            build_model(name, tmp_path / "a.pth", "cpu")
