"""Test that each number of a config is defined once: overriding it changes all dependent values."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from vislab.engine.config.load import load_config
from vislab.engine.config.source import scan
from vislab.errors import ConfigError
from vislab.registry import TRANSFORMS

CONFIGS = Path(__file__).parents[1] / "configs"
LEAVES = sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts)
SIZES = ("size", "short", "long", "crop", "resize", "img_size")
ONE_PLACE = (*SIZES, "scale", "max_depth", "num_objects", "frames", "end")


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def numbers(node, keys, place=""):
    """(dotted place, value) of every argument in `keys` that is no text, anywhere in a config."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        if key in keys and not isinstance(value, str):
            yield f"{place}{key}", value
        yield from numbers(value, keys, f"{place}{key}.")


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_no_number_is_written_twice(path):
    source = scan(path)
    files = {file.path: file for file in [source, *source.all_bases()]}.values()
    found = [
        (keyword.arg, ast.unparse(keyword.value), f"{file.path.name}:{keyword.value.lineno}")
        for file in files
        for statement in file.body
        for keyword in ast.walk(statement)
        if isinstance(keyword, ast.keyword) and keyword.arg in ONE_PLACE and _has_number(keyword.value)
    ]
    written = [(argument, value) for argument, value, _ in found]
    assert [f for f in found if written.count(f[:2]) > 1] == [], "name it once as a variable, and use the variable"


def _has_number(value: ast.expr) -> bool:
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return any(isinstance(part, ast.Constant) and type(part.value) in (int, float) for part in parts)


WITH_SIZE = [path for path in LEAVES if "size" in scan(path).variables()]


def test_there_are_configs_with_a_size():
    assert len(WITH_SIZE) > 10


@pytest.mark.parametrize("path", WITH_SIZE, ids=name)
def test_overriding_the_size_scales_all_of_them(path):
    def halved(value):
        return type(value)(halved(v) for v in value) if isinstance(value, (list, tuple)) else value // 2

    # Cityscapes' crops are cut from photographs of one size: how large they are does not change the zoom
    keys = ("size", "img_size") if "cityscapes" in path.name else SIZES
    fixed = "img_size" if name(path).startswith("combinations/cae_") else "none"  # the size of the pre-training
    moving = lambda found: {place: value for place, value in found.items() if not place.endswith(fixed)}
    whole = moving(dict(numbers(load_config(path)._cfg_dict.to_dict(), keys)))
    size = next(value for place, value in whole.items() if place.endswith("size") and place.startswith("train"))
    half = moving(dict(numbers(load_config(path, {"size": halved(size)})._cfg_dict.to_dict(), keys)))
    assert half == {place: halved(value) for place, value in whole.items()}


@pytest.mark.parametrize("size", [(240, 320), (96, 128), (360, 480)])
@pytest.mark.parametrize("config", ["timesnet/timesnet_lite0_lite0_camvid.py", "eco_m2f/eco_m2f_lite0_camvid_cpu.py"])
def test_camvid_is_zoomed_alike_at_every_size(config, size):
    """Training shows 1 / 1.75 to 1 of a scene's width, whatever size the network gets."""
    init_default_scope("vislab")
    steps = load_config(CONFIGS / config, {"size": size}).train_dataloader.dataset.pipeline
    jitter = TRANSFORMS.build(next(step for step in steps if "ratio_range" in step))
    columns = np.broadcast_to(np.linspace(0, 255, 480).astype(np.uint8)[:, None], (360, 480, 3))
    np.random.seed(0)
    shares = []
    for _ in range(20):
        image = jitter({"img": columns.copy(), "img_shape": (360, 480)})["img"]
        assert image.shape == (*size, 3)
        shares.append((int(image.max()) - int(image.min())) / 255)
    assert 1 / 1.75 - 0.02 < min(shares) < 0.7 and 0.85 < max(shares) <= 1


@pytest.mark.parametrize("size, shape", [((240, 320), (240, 320)), ((96, 128), (96, 128)), ((240, 240), (180, 240))])
@pytest.mark.parametrize("config", ["timesnet/timesnet_lite0_lite0_camvid.py", "eco_m2f/eco_m2f_lite0_camvid_cpu.py"])
def test_camvid_is_tested_undistorted(config, size, shape):
    """A size of another shape than the photographs' is filled as far as it goes, as in training."""
    init_default_scope("vislab")
    steps = load_config(CONFIGS / config, {"size": size}).val_dataloader.dataset.pipeline
    resize = TRANSFORMS.build(next(step for step in steps if "size" in step))
    assert resize({"img": np.zeros((360, 480, 3), np.uint8), "img_shape": (360, 480)})["img"].shape == (*shape, 3)


def test_kitchen_splits_at_one_frame():
    cfg = load_config(CONFIGS / "timesnet/timesnet_lite0_lite0_rgbd_kitchen.py", {"split": 100})
    assert [loader.dataset.frames for loader in (cfg.train_dataloader, cfg.val_dataloader)] == [(0, 100), (100, None)]


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_no_schedule_repeats_the_length_of_the_run(path):
    """The runner fills in `end`, and milestones are shares, so that a shorter run still ends at its last rate."""
    cfg = load_config(path)
    length = cfg.train_cfg.get("max_iters") or cfg.train_cfg.max_epochs
    assert all(scheduler.get("end") != length for scheduler in cfg.param_scheduler)
    assert all(step < 1 for scheduler in cfg.param_scheduler for step in scheduler.get("milestones", ()))


def test_a_size_of_another_kind_is_refused_with_its_value():
    with pytest.raises(ConfigError, match=r"ade20k_semantic.py, line \d+: .*--cfg-options set size=256"):
        load_config(CONFIGS / "timesnet/timesnet_swin_l_convnext_l_ade20k.py", {"size": 256})


@pytest.mark.parametrize("path", LEAVES, ids=name)
def test_optimizers_are_fused(path):
    """One kernel for all weights, on every device; what it saves is measured by benchmarks/fused_optimizer.py."""
    optimizer = load_config(path).optim_wrapper.optimizer
    assert optimizer.get("fused") is True or "fused" not in inspect.signature(optimizer.type).parameters
