"""Test FullyShard: sharded units, unsupported settings, and a run in a group of one process."""

import copy
import shutil

import pytest
import torch
from mmengine.model import BaseTTAModel
from torch import nn

from tests.helpers import HELPERS
from tests.helpers.processes import free_port
from tests.helpers.toy_run import ToyModel, make_runner
from vislab.engine.config.check import check_config
from vislab.engine.config.load import load_config
from vislab.engine.hooks import NanGuardHook
from vislab.engine.runner import Runner
from vislab.engine.sharding import FullyShard, find_units
from vislab.errors import ConfigError, TrainingError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.sharded import gather_whole
from vislab.models.encoders.timm_encoder import TimmEncoder

VIT = {"depth": 3, "embed_dim": 24, "num_heads": 2}
ATTO = {"depths": (2, 1, 2, 1), "dims": (8, 12, 16, 16)}
SWIN = {"depths": (2, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("name", "args", "kinds", "names"),
    [
        ("vit_tiny_patch16_224", VIT, {"Block"}, ["blocks.0", "blocks.1", "blocks.2"]),
        ("swin_tiny_patch4_window7_224", SWIN, {"SwinTransformerBlock"}, ["layers.0.blocks.0", "layers.0.blocks.1"]),
        ("convnext_atto", ATTO, {"ConvNeXtBlock"}, [f"stages.{i}.blocks.{k}" for i in (0, 2) for k in (0, 1)]),
        ("resnet26", {}, {"Bottleneck"}, [f"layer{i}.{k}" for i in (1, 2, 3, 4) for k in (0, 1)]),
    ],
)
def test_units_are_the_blocks_of_encoders(name, args, kinds, names):
    encoder = TimmEncoder(name=name, model_args=args)
    model = nn.ModuleDict({"encoder": encoder, "decoder": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})
    units = find_units(model)
    assert {type(unit).__name__ for unit in units.values()} == kinds
    assert list(units) == [f"encoder.model.{name}" for name in names]
    assert all(model.get_submodule(name) is unit for name, unit in units.items())


def test_units_by_class():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.TransformerEncoderLayer(4, 2))
    assert list(find_units(model, ["TransformerEncoderLayer"])) == ["1"]
    with pytest.raises(ConfigError, match="no module of class Block; it has .*, Sequential, TransformerEncoderLayer"):
        find_units(model, ["Block"])


@pytest.fixture
def group(monkeypatch):
    """A process group of this process alone, which the Runner of a test joins."""
    if torch.cuda.is_available():
        pytest.skip("one gloo process on the CPU")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, value)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def sharded(tmp_path, **changes):
    keys = ("model_wrapper_cfg", "compile", "find_unused_parameters")
    cfg = {"model_wrapper_cfg": {"type": "FullyShard"}} | {key: changes.pop(key) for key in keys if key in changes}
    return make_runner(tmp_path, launcher="pytorch", cfg=cfg, **({"custom_hooks": []} | changes))


def test_one_line_of_a_config_file(tmp_path, group):
    """Checked as any component, and built where there are processes to shard over."""
    shutil.copy(HELPERS / "toy_config.py", tmp_path)
    text = """
from mmengine.config import read_base
from vislab.engine.sharding import FullyShard
with read_base():
    from .toy_config import *
custom_hooks = []
model_wrapper_cfg = dict(type=FullyShard)
"""
    (tmp_path / "sharded.py").write_text(text)
    cfg = load_config(tmp_path / "sharded.py")
    check_config(cfg)
    cfg.work_dir = str(tmp_path)
    assert type(Runner.from_cfg(cfg).model) is ToyModel
    cfg.launcher = "pytorch"
    assert type(Runner.from_cfg(cfg).model) is FullyShard
    (tmp_path / "sharded.py").write_text(text.replace("type=FullyShard", "type=FullyShard, unit=['Block']"))
    with pytest.raises(ConfigError, match="takes no argument 'unit'; did you mean 'units'"):
        check_config(load_config(tmp_path / "sharded.py"))


class Skipping(ToyModel):
    find_unused_parameters = True


def test_a_sharded_run_goes_on_without_sharding(tmp_path, group):
    """The quick form of tests/e2e/test_sharded_runs.py: its checkpoints are those of any run."""
    options = {
        "by_epoch": False,
        "model": {"type": ToyModel, "dropout": 0.0},
        "optim_wrapper": {
            "type": "AmpOptimWrapper",
            "optimizer": {"type": "AdamW"},
            "accumulative_counts": 2,
            "clip_grad": {"max_norm": 0.1},
        },
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 3}},
    }
    runner = sharded(tmp_path / "sharded", total=6, **options)
    runner.train()
    assert type(runner.model) is FullyShard and len(load_checkpoint(tmp_path / "sharded/iter_6.pth")["optimizer"])
    resume = str(tmp_path / "sharded/iter_3.pth")
    resumed = make_runner(tmp_path / "plain", total=6, custom_hooks=[], resume=resume, **options)
    resumed.train()
    weights = load_checkpoint(tmp_path / "sharded/iter_6.pth")["state_dict"]
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, weights[name])
    again = sharded(tmp_path / "again", total=6, resume=str(tmp_path / "plain/iter_6.pth"), **options)
    again.load_or_resume()
    torch.testing.assert_close(gather_whole(dict(again.model.module.state_dict())), dict(resumed.model.state_dict()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"custom_hooks": [{"type": "EMAHook"}]}, "EMAHook does not support model_wrapper_cfg"),
        ({"custom_hooks": [{"type": "TrActHook"}]}, "TrActHook does not support model_wrapper_cfg"),
        ({"compile": True}, "FullyShard does not support compile"),
        ({"model": {"type": Skipping}}, "FullyShard does not support Skipping"),
        ({"find_unused_parameters": True}, "FullyShard does not support find_unused_parameters"),
        ({"model_wrapper_cfg": {"type": "FullyShard", "unit": []}}, "model_wrapper_cfg: .*unit"),
        ({"model_wrapper_cfg": {"type": "FullyShard", "units": ["Block"]}}, "no module of class Block"),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_training(tmp_path, group, changes, message):
    with pytest.raises(ConfigError, match=message):
        sharded(tmp_path, **changes)


def test_weights_that_are_not_finite_are_seen(tmp_path, group):
    """The guard looks at each process's part."""
    runner = sharded(tmp_path)
    next(runner.model.parameters()).data.to_local()[0] = float("nan")
    with pytest.raises(TrainingError, match="weights are NaN or infinite: module.encoder.0.weight"):
        NanGuardHook().collect_rank_states(runner)


def test_other_wrappers_can_be_named(tmp_path, group):
    wrapper = {"type": "MMDistributedDataParallel", "broadcast_buffers": False, "find_unused_parameters": True}
    runner = sharded(tmp_path, model_wrapper_cfg=wrapper)
    assert type(runner.model).__name__ == "MMDistributedDataParallel" and runner.model.find_unused_parameters


def test_augmented_tests_run_the_inner_model(tmp_path, group):
    class Mean(BaseTTAModel):
        def merge_preds(self, data_samples_list):
            return [sum(sample["error"] for sample in samples) for samples in data_samples_list]

    runner = sharded(tmp_path)  # for the process group
    torch.manual_seed(0)
    model = ToyModel(dropout=0.0)
    views = [torch.randn(2, 4), torch.randn(2, 4)]
    data = {"inputs": [list(view) for view in views], "data_samples": [[None, None]] * 2}
    expected = Mean(module=copy.deepcopy(model).eval()).test_step(data)
    wrapped = FullyShard(module=Mean(module=model)).eval()
    assert wrapped.test_step(data) == pytest.approx(expected) and type(runner.model) is FullyShard
