"""Test mistakes found only by building or comparing components: values, intervals, metrics, hooks, loops."""

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from mmengine import hooks
from mmengine.dataset import InfiniteSampler as MMInfiniteSampler
from mmengine.optim import scheduler as optim
from torch.optim import AdamW

from tests.helpers.config_changes import drop, put, write_base
from vislab.datasets.samplers import InfiniteSampler
from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import LoadImage, LoadSemSeg, LoadVideoFrame, PackInputs, RandomFlip
from vislab.engine import hooks as ours
from vislab.engine.config.check import find_problems
from vislab.engine.config.components import Walk
from vislab.engine.config.load import load_config
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.schedulers import RelativeMultiStepLR, WarmupCosineLR
from vislab.evaluation.classification import Accuracy
from vislab.registry import TRANSFORMS


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_config(write_base(tmp_path_factory.mktemp("config")))


def many(*changes):
    def change(cfg: dict) -> None:
        for one in changes:
            one(cfg)

    return change


def schedule(kind: Any, **settings: Any):
    return put("param_scheduler", [{"type": kind, **settings}])


def add_hook(kind: Any, **settings: Any):
    return lambda cfg: cfg["custom_hooks"].append({"type": kind, **settings})


BY_ITER = many(put("train_cfg", {"by_epoch": False, "max_iters": 300, "val_interval": 100}), put("param_scheduler", []))
S, H = "param_scheduler.0", "custom_hooks.2"
# fmt: off
MISTAKES = {
    # values that a constructor refuses
    "betas": (
        put("optim_wrapper.optimizer", {"type": AdamW, "lr": 0.1, "betas": (0.9,)}),
        "optim_wrapper.optimizer",
        "",
    ),
    "beta above 1": (
        put("optim_wrapper.optimizer", {"type": AdamW, "lr": 0.1, "betas": (0.9, 1.5)}),
        "optim_wrapper.optimizer",
        "1.5",
    ),
    "nesterov without momentum": (
        many(put("optim_wrapper.optimizer.momentum", 0.0), put("optim_wrapper.optimizer.nesterov", True)),
        "optim_wrapper.optimizer",
        "Nesterov",
    ),
    "amp type": (
        many(put("optim_wrapper.type", AmpOptimWrapper), put("optim_wrapper.dtype", "float8")),
        "optim_wrapper.dtype",
        "bfloat16",
    ),
    "no eta_min": (schedule(optim.CosineRestartLR, periods=[3]), S, "eta_min"),
    "restarts end early": (schedule(optim.CosineRestartLR, periods=[1, 1], eta_min=0), S, "periods"),
    "plateau by iteration": (schedule(optim.ReduceOnPlateauLR, by_epoch=False), S, "by_epoch"),
    "warm-up negative": (schedule(WarmupCosineLR, warmup=-3), f"{S}.warmup", "0"),
    "warm-up above 1": (schedule(WarmupCosineLR, warmup=1.5), f"{S}.warmup", "1"),
    "shares": (schedule(RelativeMultiStepLR, milestones=(2, 3)), f"{S}.milestones", "fractions"),
    "begin after end": (schedule(optim.LinearLR, begin=2, end=1), f"{S}", "end"),
    "factor above 1": (schedule(optim.LinearLR, start_factor=3.0), S, "factor"),
    "average": (put("custom_hooks.0.momentum", 1.5), "custom_hooks.0", "momentum"),
    "average twice begun": (
        many(put("custom_hooks.0.begin_iter", 1), put("custom_hooks.0.begin_epoch", 1)),
        "custom_hooks.0",
        "begin",
    ),
    "rule unknown": (put("default_hooks.checkpoint.save_best", "quality"), "default_hooks.checkpoint", "quality"),
    "picture number": (add_hook(ours.VisualizationHook, number=-1), f"{H}.number", "-1"),
    "window": (put("log_processor.window_size", 0), "log_processor.window_size", "at least 1"),
    "interval of 0": (put("default_hooks.logger.interval", 0), "default_hooks.logger.interval", "at least 1"),
    "max_norm of 0": (
        put("optim_wrapper.clip_grad.max_norm", 0),
        "optim_wrapper.clip_grad.max_norm",
        "nothing would be trained",
    ),
    "not a number": (put("optim_wrapper.optimizer.lr", float("nan")), "optim_wrapper.optimizer.lr", "not a number"),
    "probability": (
        put("train_dataloader.dataset.pipeline.1.transforms.0.prob", 2.0),
        "train_dataloader.dataset.pipeline.1.transforms.0.prob",
        "at most 1",
    ),
    "pipeline of text": (
        put("train_dataloader.dataset.pipeline.0", "PartResize"),
        "train_dataloader.dataset.pipeline.0",
        "type",
    ),
    "type of number": (
        put("train_dataloader.dataset.pipeline.0.type", 3),
        "train_dataloader.dataset.pipeline.0.type",
        "transform",
    ),
    "optimizer as hook": (put("custom_hooks.1.type", AdamW), "custom_hooks.1.type", "no hook"),
    "prefetch": (put("train_dataloader.timeout", -1), "train_dataloader", "timeout"),
    "model value": (put("model.head.num_classes", "three"), "model.head.num_classes", "int"),
    "custom key": (put("optim_wrapper.paramwise_cfg.custom_keys.hed", {"lr_mult": 2.0}), None, ""),
    "no scene is drawn": (
        put("train_dataloader.dataset", {"type": Scenes, "num_objects": (5, 2)}), "train_dataloader.dataset", "objects"
    ),
    "two metrics of one name": (put("val_evaluator", [{"type": Accuracy}] * 2), "val_evaluator", "prefix"),
    "no metric": (put("val_evaluator", []), "val_evaluator", "no metric"),
    "unknown scope": (put("default_scope", "vislabb"), "default_scope", "'vislab'"),
    # loops and samplers
    "infinite epoch": (put("train_dataloader.sampler.type", InfiniteSampler), "train_cfg", "never ends"),
    "infinite validation": (put("val_dataloader.sampler.type", MMInfiniteSampler), "val_cfg", "never ends"),
    "epochs in a run of iterations": (
        many(BY_ITER, put("param_scheduler", [{"type": optim.StepLR, "step_size": 30}])),
        S,
        "by_epoch",
    ),
    "hook counts epochs": (
        many(BY_ITER, put("default_hooks.checkpoint.by_epoch", True)),
        "default_hooks.checkpoint.by_epoch",
        "",
    ),
    # spans
    "begin": (schedule(optim.CosineAnnealingLR, T_max=2, begin=3, end=5), f"{S}.begin", "3 epochs"),
    "end": (schedule(optim.LinearLR, end=5), f"{S}.end", "3 epochs"),
    "milestones": (schedule(optim.MultiStepLR, milestones=[1, 8]), f"{S}.milestones", "3 epochs"),
    "period": (schedule(optim.CosineAnnealingLR, T_max=20), f"{S}.T_max", "3 epochs"),
    "iterations": (
        many(BY_ITER, put("param_scheduler", [{"type": optim.LinearLR, "by_epoch": False, "end": 500}])),
        f"{S}.end",
        "300 iter",
    ),
    "validation begins late": (put("train_cfg.val_begin", 4), "train_cfg.val_begin", "3 epochs"),
    "average begins late": (put("custom_hooks.0.begin_epoch", 3), "custom_hooks.0.begin_epoch", "3 epochs"),
    "average in iterations": (
        many(BY_ITER, put("custom_hooks.0.begin_iter", 400)),
        "custom_hooks.0.begin_iter",
        "300 iter",
    ),
    "saving begins late": (
        put("default_hooks.checkpoint.save_begin", 5),
        "default_hooks.checkpoint.save_begin",
        "3 epochs",
    ),
    # hooks with each other
    "two averages": (add_hook(hooks.EMAHook, momentum=0.1), H, "custom_hooks.0"),
    "two alike": (add_hook(ours.CurveHook), "custom_hooks.3", "custom_hooks.2"),
    "default twice": (add_hook(hooks.LoggerHook), H, "default_hooks.logger"),
    "wrong slot": (
        put("default_hooks.checkpoint", {"type": hooks.EMAHook}),
        "default_hooks.checkpoint.type",
        "CheckpointHook",
    ),
    # names of metrics
    "best": (
        put("default_hooks.checkpoint", {"type": ours.CheckpointHook, "save_best": "acc", "rule": "greater"}),
        "default_hooks.checkpoint.save_best",
        "top1",
    ),
    "stop": (add_hook(ours.EarlyStoppingHook, monitor="top5", rule="greater"), f"{H}.monitor", "top1"),
    "curve": (add_hook(ours.CurveHook, metrics=["loss"]), f"{H}.metrics", "top1"),
    "plateau": (schedule(optim.ReduceOnPlateauLR, monitor="top2", rule="greater"), f"{S}.monitor", "top1"),
    "nothing validated": (
        many(
            drop("val_dataloader"), drop("val_cfg"), drop("val_evaluator"), add_hook(ours.CurveHook, metrics=["top1"])
        ),
        f"{H}.metrics",
        "validated",
    ),
}
# fmt: on


@pytest.mark.parametrize(
    "kinds, place",
    [
        ([PackInputs, LoadImage], "p.pipeline.0"),
        ([RandomFlip, LoadImage, PackInputs], "p.pipeline.0"),
        ([LoadImage, PackInputs, RandomFlip], "p.pipeline.1"),
        ([LoadImage, RandomFlip], "p.pipeline"),
        ([LoadImage, RandomFlip, LoadSemSeg, PackInputs], None),
        ([PackInputs], None),
        ([LoadVideoFrame, LoadImage, PackInputs], None),
        ([LoadImage, LoadVideoFrame, PackInputs], "p.pipeline.0"),
    ],
)
def test_order_of_a_pipeline(kinds, place):
    walk = Walk()
    arguments = {LoadVideoFrame: {"source": __file__}}
    walk.nested([{"type": kind, **arguments.get(kind, {})} for kind in kinds], "p.pipeline", TRANSFORMS)
    assert [p.place for p in walk.found] == ([] if place is None else [place])


def test_random_states_stay(base):
    """A run without a seed draws the same numbers whether its config was checked or not."""
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    find_problems(base)
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


@pytest.mark.parametrize("name", MISTAKES)
def test_planted(base, name):
    change, place, says = MISTAKES[name]
    cfg = copy.deepcopy(base)._cfg_dict.to_dict()
    if name == "two alike":
        change(cfg)
    change(cfg)
    found = find_problems(cfg)
    if place is None:
        return
    assert [p.place for p in found if p.place.startswith(place)], [str(p) for p in found]
    assert any(says in p.text for p in found), [str(p) for p in found]
    assert len(found) <= 2, [str(p) for p in found]
