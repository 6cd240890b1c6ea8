"""Test each config: it loads, passes the check, has a complete docstring, and its model can be built."""

import ast
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FILES = sorted((REPOSITORY / "configs").rglob("*.py"))
LEAVES = [path for path in FILES if "_base_" not in path.parts]
MAX_LINES, MAX_LINES_BASE = 60, 80


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY / "configs"))


def test_there_are_configs():
    assert LEAVES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_short_and_without_standard_library(path):
    text = path.read_text()
    assert len(text.splitlines()) <= (MAX_LINES if path in LEAVES else MAX_LINES_BASE)
    for node in ast.walk(ast.parse(text)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module]
        for module in modules:
            assert module.split(".")[0] not in sys.stdlib_module_names, f"{module}: mmengine cannot import it lazily"


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_docstring_says_what_to_expect(path):
    """Command, hardware, and a figure: the metric it reached, or what is expected and from where."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "a config begins with a docstring"
    assert f"python tools/train.py configs/{name(path)}" in text, "the command to run it"
    assert re.search(r"\b(GPU|CPU|RTX|A100|V100|H100|H200|2080)", text), "the hardware"
    assert re.search(r"\b(seconds|minutes?|hours?|min|h|s|epochs?|iterations)\b", text), "the time or length"
    assert re.search(r"\d", text) and re.search(r"PSNR|AP|mIoU|PQ|accuracy|top-1|RMSE|delta|loss", text), "the metric"


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_check_finds_nothing(path, tmp_path):
    """Files may be missing here; everything else must be right, in the config as it is and as a run dumps it."""
    from vislab.engine.config.check import check_config
    from vislab.engine.config.load import load_config

    cfg = load_config(path)
    check_config(cfg, files=False)
    cfg.dump(tmp_path / "dumped.py")
    dumped = load_config(tmp_path / "dumped.py")
    assert dumped._cfg_dict.to_dict() == cfg._cfg_dict.to_dict()
    if path in LEAVES[::10]:  # equal configs are checked alike
        check_config(dumped, files=False)


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_model_is_built(path):
    """On the meta device: every layer with its real shape, no memory, no weights from anywhere."""
    from vislab.engine.config.load import load_config
    from vislab.models.meta_device import meta_device
    from vislab.registry import MODELS

    cfg = load_config(path).model.to_dict()
    cfg = _without_pretrained(cfg)
    with meta_device():
        model = MODELS.build(cfg)
    assert sum(p.numel() for p in model.parameters()) > 0


def _without_pretrained(node):
    if isinstance(node, dict):
        return {k: False if k == "pretrained" and v else _without_pretrained(v) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_without_pretrained(v) for v in node)
    return node


PLANTED = {
    "model.decoder_widt": "'decoder_width'",
    "train_dataloader.dataset.sourse": "'source'",
    "optim_wrapper.optimizer.lrr": "'lr'",
    "default_hooks.checkpoint.intervall": "'interval'",
    "train_cfg.max_epoch": "'max_epochs'",
    "val_evaluator.prefx": "'prefix'",
}


@pytest.mark.parametrize("place", PLANTED)
def test_mistakes_in_the_example_are_found(place):
    """The config of `make train`, with one argument too many."""
    from vislab.engine.config.load import load_config
    from vislab.errors import ConfigError

    with pytest.raises(ConfigError, match=PLANTED[place]):
        load_config(REPOSITORY / "configs/hnerv/hnerv_bunny_160x320_cpu.py", {place: 3})


def test_missing_video_is_found():
    from vislab.engine.config.check import check_config
    from vislab.engine.config.load import load_config
    from vislab.errors import ConfigError

    cfg = load_config(REPOSITORY / "configs/hnerv/hnerv_bunny_160x320_cpu.py", {"source": "/not/there.mp4"})
    with pytest.raises(
        ConfigError, match=r"(?s)1 mistake:.*train_dataloader\.dataset\.source.*/not/there\.mp4"
    ) as caught:
        check_config(cfg)
    assert "val_dataloader.dataset.source" in str(caught.value)  # one message for both places
