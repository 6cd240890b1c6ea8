"""Test reading of configs: valid content, results, and errors of files and options."""

import inspect
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from vislab.cli import error_message, parse_cfg_options
from vislab.engine.config.load import RUNNER_KEYS, load_config
from vislab.errors import ConfigError, DataError

BASE = """
from mmengine.hooks import EMAHook
from torch.optim import SGD

data_root = "/data/a"
size = 32
train_pipeline = [dict(type="Resize", size=size), dict(type="Flip", prob=0.5)]
train_dataloader = dict(batch_size=4, dataset=dict(type="Images", data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(type="Images", data_root=data_root + "/val", pipeline=[]))
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1), betas=(0.9, 0.99))
custom_hooks = [dict(type=EMAHook, momentum=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=3)
"""
LEAF = """
from mmengine.config import read_base

with read_base():
    from .base import *

optim_wrapper.update(dict(optimizer=dict(lr=0.2)))
test_dataloader = val_dataloader
"""


@pytest.fixture
def write(tmp_path):
    def write(name: str = "leaf", text: str = LEAF) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    write("base", BASE)
    return write


def error_of(path: Path, options: dict | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------ what comes out


def test_only_arguments_of_the_runner_are_kept(write):
    cfg = load_config(write())
    assert set(cfg) == {
        "train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper", "custom_hooks", "train_cfg",
    }  # fmt: skip
    assert isinstance(cfg, Config)
    assert cfg.optim_wrapper.optimizer.lr == 0.2  # changed by the leaf
    assert cfg.optim_wrapper.optimizer.type.__name__ == "SGD"
    assert cfg.train_dataloader.dataset.pipeline[0] == {"type": "Resize", "size": 32}


def test_keys_of_the_runner_are_complete():
    """Keys that mmengine's Runner takes or looks up in its config are allowed; the only others are those of TTA."""
    takes = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}
    looks_up = set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", inspect.getsource(Runner)))
    assert takes | looks_up <= RUNNER_KEYS
    assert RUNNER_KEYS - takes - looks_up == {"tta_model", "tta_pipeline"}


def test_places_share_nothing(write):
    """`test_dataloader = val_dataloader` copies: changing one does not change the other."""
    cfg = load_config(write(), {"test_dataloader.batch_size": 8})
    assert (cfg.val_dataloader.batch_size, cfg.test_dataloader.batch_size) == (1, 8)
    cfg.val_dataloader.dataset.data_root = "elsewhere"
    assert cfg.test_dataloader.dataset.data_root == "/data/a/val"


def test_a_dumped_config_loads_again(write, tmp_path):
    cfg = load_config(write())
    cfg.dump(tmp_path / "dumped.py")
    again = load_config(tmp_path / "dumped.py")
    assert again._cfg_dict.to_dict() == cfg._cfg_dict.to_dict()
    again.dump(tmp_path / "twice.py")
    assert (tmp_path / "twice.py").read_text() == (tmp_path / "dumped.py").read_text()


def test_bases_by_name_and_alias_and_of_bases(write, tmp_path):
    (tmp_path / "sub").mkdir()
    write("sub/deep", "from mmengine.config import read_base\nwith read_base():\n    from ..leaf import *\n")
    write()
    write(
        "named", "with read_base():\n    from .base import train_cfg, optim_wrapper as other\noptim_wrapper = other\n"
    )
    assert load_config(tmp_path / "sub" / "deep.py").optim_wrapper.optimizer.lr == 0.2
    assert set(load_config(tmp_path / "named.py")) == {"train_cfg", "optim_wrapper"}


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "key, value, place",
    [
        ("optim_wrapper.optimizer.lr", 1.0, "optim_wrapper.optimizer.lr"),
        ("custom_hooks.0.momentum", 0.5, "custom_hooks.0.momentum"),
        ("optim_wrapper.betas.1", 0.5, "optim_wrapper.betas.1"),
        ("data_root", "/b", "train_dataloader.dataset.data_root"),
        ("size", 64, "train_dataloader.dataset.pipeline.0.size"),
        ("train_pipeline.1.prob", 1.0, "train_dataloader.dataset.pipeline.1.prob"),
        ("randomness.seed", 3, "randomness.seed"),  # not in the config, but an argument of the Runner
        ("optim_wrapper.clip_grad.max_norm", 1.0, "optim_wrapper.clip_grad.max_norm"),
        ("load_from", "x.pth", "load_from"),
    ],
)
def test_option(write, key, value, place):
    node = load_config(write(), {key: value})
    for part in place.split("."):
        node = node[int(part)] if isinstance(node, (list, tuple)) else node[part]
    assert node == value


def test_option_on_a_variable_reaches_what_is_computed_from_it(write):
    cfg = load_config(write(), {"data_root": "/b"})
    assert cfg.val_dataloader.dataset.data_root == "/b/val"
    assert cfg.test_dataloader.dataset.data_root == "/b/val"


def test_dict_option_is_merged(write):
    cfg = load_config(write(), {"train_cfg": {"max_epochs": 9}, "optim_wrapper": {"optimizer": {"momentum": 0.5}}})
    assert cfg.train_cfg == {"by_epoch": True, "max_epochs": 9}
    assert cfg.optim_wrapper.optimizer.lr == 0.2
    assert cfg.optim_wrapper.optimizer.momentum == 0.5


@pytest.mark.parametrize(
    "key, says",
    [
        ("optim_wrapper.optimizer.lrr", r"optim_wrapper\.optimizer\.lrr.*did you mean 'lr'"),
        ("optim_wraper.optimizer.lr", r"no 'optim_wraper'; did you mean 'optim_wrapper'"),
        ("optimizer.lr", r"did you mean 'optim_wrapper\.optimizer\.lr'"),
        ("max_epochs", r"did you mean 'train_cfg\.max_epochs'"),
        ("dataroot", r"did you mean 'data_root'"),
        ("custom_hooks.3.momentum", r"is a list; expected a position 0\.\.0"),
        ("custom_hooks.momentum", r"is a list"),
        ("train_cfg.max_epochs.x", r"'train_cfg\.max_epochs' is 3"),
        ("train_pipeline.0.sise", r"has no 'sise'; did you mean 'size'"),
        ("randomness.sed", r"did you mean 'seed'"),
        ("train_cfg.max_epoch", r"did you mean 'max_epochs'"),
        ("custom_hooks.0.momentun", r"did you mean 'momentum'"),
    ],
)
def test_unknown_option(write, key, says):
    assert re.search(says, error_of(write(), {key: 1}))


def test_options_as_text():
    given = ["a.b=1", "c=[x,2.5]", "d=(1,)", "e=1,2", "f=[(1,2),[a,b]]", "g='1'", "h=true", "i=None", "j=a=b", "k=1e-3"]
    assert parse_cfg_options(given) == {
        "a.b": 1, "c": ["x", 2.5], "d": (1,), "e": [1, 2], "f": [(1, 2), ["a", "b"]], "g": "1", "h": True, "i": None,
        "j": "a=b", "k": 0.001,
    }  # fmt: skip
    for wrong in ("lr", "=3", "a=[1,2", "a=1)"):
        with pytest.raises(ConfigError, match="cfg-options"):
            parse_cfg_options([wrong])


# ------------------------------------------------------------------------------------------------- mistakes in the file


@pytest.mark.parametrize(
    "text, says",
    [
        ("train_cfg = dict(max_epochs=3\n", r"line 1: .*never closed"),
        ("a = 1\ntrain_cfg = dict(max_epochs=b)\n", r"line 1: 'a' is neither"),
        ("val_cfg = dict(x=valcfg)\n", r"line 1: 'valcfg' is not defined; did you mean 'val_cfg'"),
        ("from torch.optim import SGDD\nmodel = SGDD\n", r"line 1: torch\.optim has no 'SGDD'; did you mean 'SGD'"),
        ("from torch.optimm import SGD\nmodel = SGD\n", r"line 1: there is no module 'torch\.optimm'"),
        ("import torch\n\nmodel = torch.optim.SDG\n", r"line 3: torch\.optim has no 'SDG'; did you mean 'SGD'"),
        ("import os\nwork_dir = os.getcwd()\n", r"line 1: a config imports no standard library \(os\)"),
        ("from .base import *\n", r"line 1: a base is imported inside"),
        ("with read_base():\n    from .bas import *\n", r"line 2: there is no config .*; did you mean .*base\.py"),
        ("with read_base():\n    from .base import trai_cfg\n", r"line 2: .*no 'trai_cfg'; did you mean 'train_cfg'"),
        ("from torch.optim import SGD\nmodel = SGD(lr=1)\n", r"line 2: an imported object is called"),
        ("model = dict(a=1)\nmodel.b.c = 1\n", r"line 2: AttributeError"),
        ("def f():\n    return 1\n", r"line 1: a config contains values"),
        ("optim_wraper = dict()\n", r"line 1: 'optim_wraper' is neither .*did you mean 'optim_wrapper'"),
        ("_base_ = ['base.py']\n", r"line 1: '_base_' is neither"),
    ],
)
def test_broken_file(write, text, says):
    message = error_of(write(text=text))
    assert re.search(r"leaf\.py, " + says, message), message


def test_variable_that_comes_too_late(write):
    """A leaf that sets `train_pipeline` after the base has used its own would change nothing, silently."""
    message = error_of(write(text=LEAF + "train_pipeline = []\n"))
    assert re.search(r"leaf\.py, line 9: 'train_pipeline' is set here but not read after this.*base\.py", message)
    assert "train_dataloader.dataset.pipeline" in message
    load_config(write(text=LEAF + "train_pipeline = []\ntrain_dataloader.dataset.pipeline = train_pipeline\n"))
    assert "no effect" in error_of(write(text=LEAF + "train_pipeline[0].size = 3\n"))


def test_missing_file_names_the_nearest(write, tmp_path):
    write()
    assert re.search(r"no config .*leav\.py; did you mean .*leaf\.py", error_of(tmp_path / "leav.py"))
    (tmp_path / "x.txt").write_text("")
    assert "a config is a .py file" in error_of(tmp_path / "x.txt")


def test_message_of_a_worker_is_the_last_one():
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1\nvislab.errors.DataError: a.png is broken\nReplace it.\n'
    )
    assert error_message(DataError(text)) == "a.png is broken\nReplace it."
    assert error_message(DataError("plain")) == "plain"


def test_classes_in_a_file_next_to_the_config(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "own_parts_of_a_user.py").write_text("class Net:\n    pass\n")
    path = tmp_path / "config.py"
    path.write_text("from own_parts_of_a_user import Net\n\nmodel = dict(type=Net)\n")
    assert load_config(path).model.type.__name__ == "Net"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/own_parts_of_a_user.py").write_text("class Net:\n    pass\n")
    (tmp_path / "other/config.py").write_text(path.read_text())
    with pytest.raises(ConfigError, match=r"line 1: own_parts_of_a_user is .*other.*was imported before"):
        load_config(tmp_path / "other/config.py")
    load_config(path)
    assert str(tmp_path / "other") not in sys.path and str(tmp_path) in sys.path


def test_a_shipped_config_is_named_where_its_folder_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("configs/hnerv/hnerv_bunny_160x320_cpu.py", "hnerv/hnerv_bunny_160x320_cpu"):
        with pytest.raises(
            ConfigError, match="there is no config .*; 'hnerv_bunny_160x320_cpu' alone names the shipped"
        ):
            load_config(path)
    with pytest.raises(ConfigError, match="is a folder; a config is a .py file"):
        load_config(tmp_path)
