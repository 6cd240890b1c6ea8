"""Test that arguments of `train` are written to the config."""

import pytest
from mmengine.config import Config

from tests.helpers import REPOSITORY
from tests.helpers.plain_config import plain_config
from vislab.apis.training import training_config
from vislab.engine.config.load import load_config
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.errors import CheckpointError, ConfigError
from vislab.registry import OPTIM_WRAPPERS, VISUALIZERS
from vislab.visualization.trackers import TRACKERS
from vislab.visualization.visualizer import Visualizer


def test_resume_and_load_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").touch()
    assert training_config(plain_config()).get("resume", False) is False
    cfg = training_config(plain_config(load_from="old.pth"), resume=True)
    # from the work folder, whatever the run began with; the old weights are for a folder with nothing in it
    assert (cfg.resume, cfg.load_from) == ("auto", "old.pth")
    cfg = training_config(plain_config(), resume="a.pth")
    assert (cfg.resume, cfg.load_from) == (True, "a.pth")
    assert training_config(plain_config(), load_from="a.pth").load_from == "a.pth"
    with pytest.raises(ConfigError, match="use only one of them"):
        training_config(plain_config(), resume=True, load_from="a.pth")
    for flag in ("resume", "load_from"):
        with pytest.raises(CheckpointError, match="b.pth does not exist. In the same folder: a.pth"):
            training_config(plain_config(), **{flag: "b.pth"})


def test_amp():
    for section in (
        {"type": "OptimWrapper"},
        {"type": "mmengine.optim.OptimWrapper"},
        {"clip_grad": None},
        {"type": "AmpOptimWrapper"},
    ):
        cfg = training_config(plain_config(optim_wrapper=section), amp=True)
        assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type) is AmpOptimWrapper
        assert "AmpOptimWrapper" in cfg.pretty_text  # it can be written into the work folder
        assert "dtype" not in cfg.optim_wrapper
    cfg = training_config(plain_config(optim_wrapper={"type": "OptimWrapper"}), amp="bfloat16")
    assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type) is AmpOptimWrapper and cfg.optim_wrapper.dtype == "bfloat16"
    with pytest.raises(ConfigError, match="optim_wrapper.type is TractOptimWrapper"):
        training_config(plain_config(optim_wrapper={"type": "TractOptimWrapper"}), amp=True)
    with pytest.raises(ConfigError, match="does not have"):
        training_config(Config({"model": {}}), amp=True)


def test_auto_scale_lr():
    assert training_config(plain_config(auto_scale_lr={"base_batch_size": 16}), auto_scale_lr=True).auto_scale_lr.enable
    with pytest.raises(ConfigError, match="base_batch_size"):
        training_config(plain_config(), auto_scale_lr=True)


def test_trackers_are_added_to_the_visualizer():
    assert "visualizer" not in training_config(plain_config())
    cfg = training_config(plain_config(), log=["tensorboard"])
    assert [backend.type.rpartition(".")[2] for backend in cfg.visualizer.vis_backends] == [
        "LocalVisBackend",
        "TensorboardVisBackend",
    ]
    with pytest.raises(ConfigError, match="log='comet' is not one of"):
        training_config(plain_config(), log=["comet"])


@pytest.mark.parametrize(
    "flags",
    [
        *({"log": [name]} for name in TRACKERS),
        *({"amp": amp} for amp in (True, "bfloat16")),
        {"auto_scale_lr": True, "cfg_options": {"auto_scale_lr": {"base_batch_size": 4}}},
        {"resume": True, "seed": 3, "work_dir": "elsewhere"},
    ],
    ids=str,
)
def test_configs_of_this_package_are_written_and_read_with_flags(tmp_path, monkeypatch, flags):
    monkeypatch.setattr("vislab.visualization.trackers.find_spec", lambda name: object())
    cfg = training_config(REPOSITORY / "configs/hnerv/hnerv_bunny_160x320_cpu.py", **flags)
    cfg.dump(tmp_path / "dumped.py")
    dumped = load_config(tmp_path / "dumped.py")
    assert dumped._cfg_dict.to_dict() == cfg._cfg_dict.to_dict()
    if "log" in flags:
        assert isinstance(
            VISUALIZERS.build({**dumped.visualizer, "name": str(flags), "save_dir": str(tmp_path)}), Visualizer
        )
