"""One training run of timesnet_decoder.py: the model of a row, the data of a split, the steps and the metrics."""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger

import vislab.systems.timesnet  # noqa: F401  registers TimesNet
from vislab.datasets.base import seeded
from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.semantic import CamVid
from vislab.datasets.transforms import (
    LoadDepth,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    Resize,
)
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.evaluation.depth import DepthMetric
from vislab.evaluation.semantic import SemSegMetric
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.registry import MODELS

WEIGHTS = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
WORK_DIR = Path(__file__).resolve().parents[1] / "work_dirs" / "timesnet_decoder"
SIZE = (96, 128)
BATCH = 8
PRETRAINED_SHARE = 0.5  # factor on the learning rate of pre-trained layers, in all rows
VARIANTS: dict[str, tuple[bool | None, str | None]] = {  # row: (decoder pre-trained, mix)
    "pre-trained x multiply": (True, "multiply"),
    "pre-trained x image": (True, "image"),
    "pre-trained x feature": (True, "feature"),
    "random x multiply": (False, "multiply"),
    "random x image": (False, "image"),
    "random x feature": (False, "feature"),
    "FPN": (None, None),
}
TASKS = {"kitchen": ("abs_rel", "rmse", "d1"), "camvid": ("mIoU", "mAcc", "aAcc")}  # the first one selects the rates
LOWER_IS_BETTER = ("abs_rel", "rmse")
# Images of each split. Rates are selected on images held out of the training set: consecutive frames, as for
# testing, and for CamVid frames that are not next to the test frames.
SPLITS = {
    "kitchen": {
        "tuning": {"train": range(0, 120), "test": range(120, 160)},
        "report": {"train": range(0, 160), "test": range(160, 200)},
    },
    "camvid": {
        "tuning": {"train": [*range(0, 54), *range(74, 90)], "test": range(54, 74)},
        "report": {"train": range(0, 90), "test": range(90, 120)},
    },
}


def build(task: str, variant: str, output_mult: float) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return the model of a row, and the `Rules` of its optimizer.

    Args:
        task: Kitchen | camvid.
        variant: A row of VARIANTS.
        output_mult: Factor on the learning rate of the layers after the pre-trained networks: Re-Shape modules of the
            decoder stages, all of the FPN.
    """
    pretrained, mix = VARIANTS[variant]
    encoder = {"name": "tf_efficientnet_lite0", "pretrained": WEIGHTS}
    if mix is None:
        network = {"type": "FPNNetwork", "encoder": encoder}
        slow, outputs = ["network.encoder"], ["network.lateral", "network.smooth", "network.output"]
    else:
        decoder = {"name": "tf_efficientnet_lite0", "pretrained": WEIGHTS if pretrained else False}
        network = {"type": "TimesNet", "encoder": encoder, "decoder": decoder, "mix": mix, "pyramid_width": 32}
        slow = ["network.encoder"] * (mix != "image") + ["network.decoder"] * bool(pretrained)
        outputs = ["network.to_finest", "network.reshape_out"]
    rules = {
        "layer_decay": 1.0,
        "lr_mult": dict.fromkeys(slow, PRETRAINED_SHARE) | dict.fromkeys(outputs, output_mult),
    }
    with MODELS.switch_scope_and_registry("vislab"):
        if task == "kitchen":
            return DepthEstimator(network=network, max_depth=5.0), rules
        return SemanticSegmentor(network=network, num_classes=11), rules


@functools.cache
def records(task: str, split: str, part: str) -> list[dict]:
    """Return images and labels of one part of a split, resized and kept in memory; those of "test" are packed.

    Test labels keep their original size.
    """
    if task == "kitchen":
        image, label = LoadImage(min_size=32), LoadDepth(invalid=(0, 65535))
        sets = [RGBDFolder(data_root="$VISLAB_DATA/rgbd_kitchen")]
    else:
        image, label = LoadImage(min_size=32), LoadSemSeg()
        sets = [CamVid(data_root="$VISLAB_DATA/camvid", ann_file=f"{name}.txt") for name in ("train", "val")]
    larger = (round(SIZE[0] * 1.25), round(SIZE[1] * 1.25))  # source of the training crops
    if part == "train":
        steps = [image, label, Resize(size=larger)]
    else:
        steps = [image, Resize(size=SIZE), label, PackInputs()]
    everything = [(dataset, i) for dataset in sets for i in range(len(dataset))]
    return [_run(steps, dataset.get_data_info(i)) for dataset, i in (everything[k] for k in SPLITS[task][split][part])]


def _run(steps: Sequence, results: dict) -> dict:
    for step in steps:
        results = step(results)
    return results


def train_once(job: dict[str, Any]) -> dict[str, Any]:
    """Train one model; returns the job with its metrics at each evaluation, losses, and wall and CPU seconds.

    Args:
        job: Task, variant, seed, split, steps, every (evaluate after so many), lr, output_mult, images (of the parts,
            None = all), pictures (whether to keep predictions of three test images).
    """
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(job["seed"])
    model, rules = build(job["task"], job["variant"], job["output_mult"])
    run = fit(model, rules, job)
    if job["pictures"]:
        test = records(job["task"], job["split"], "test")[: job["images"]]
        keep_predictions(job["task"], job["variant"], model, test)
    return run


def fit(model: torch.nn.Module, rules: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Train a model with the `Rules` of its optimizer; returns the job with metrics, losses and seconds.

    Args:
        model: A dense model with its weights.
        rules: Arguments of `Rules`.
        job: Task, seed, split, steps, every, lr and images, as in `train_once`.
    """
    task, seed = job["task"], job["seed"]
    train, test = (records(task, job["split"], part)[: job["images"]] for part in ("train", "test"))
    augment = [RandomCrop(size=SIZE), RandomFlip(), PhotoMetricDistortion(), PackInputs()]
    wrapper = LayerDecayOptimConstructor(
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": job["lr"], "weight_decay": 0.05, "fused": True},
            "clip_grad": {"max_norm": 10.0},
        },
        rules,
    )(model)
    schedule = WarmupCosineLR(wrapper.optimizer, warmup=0.1, by_epoch=False, end=job["steps"])
    order = np.random.default_rng(seed)
    began, cpu, history, losses = time.perf_counter(), time.process_time(), [], []
    for step in range(job["steps"]):
        model.train()
        chosen = order.choice(len(train), BATCH, replace=len(train) < BATCH)
        batch = []
        for place, index in enumerate(chosen):
            with seeded(1_000_003 * seed + BATCH * step + place):
                batch.append(_run(augment, dict(train[index])))
        data = model.data_preprocessor(pseudo_collate(batch), True)
        total, _ = model.parse_losses(model(**data, mode="loss"))
        wrapper.update_params(total)
        schedule.step()
        losses.append(total.item())
        if (step + 1) % job["every"] == 0:
            history.append({"step": step + 1, **evaluate(task, model, test)})
    return {
        **job,
        "history": history,
        "loss": [round(x, 4) for x in losses],
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


def evaluate(task: str, model: torch.nn.Module, test: list[dict]) -> dict[str, float]:
    """Return the metrics of a task at the original size of the labels."""
    metric = DepthMetric(max_depth=5.0) if task == "kitchen" else SemSegMetric()
    metric.dataset_meta = (RGBDFolder if task == "kitchen" else CamVid).METAINFO
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(test), BATCH):
            samples = _predict(model, test[start : start + BATCH])
            metric.process({}, [sample.to_dict() for sample in samples])
    found = metric.compute_metrics(metric.results)
    return {name: found[name] for name in TASKS[task]}


def _predict(model: torch.nn.Module, items: list[dict]) -> list:
    batch = pseudo_collate([{**item, "data_samples": item["data_samples"].clone()} for item in items])
    return model(**model.data_preprocessor(batch, False), mode="predict")


def keep_predictions(task: str, variant: str, model: torch.nn.Module, test: list[dict]) -> None:
    """Write predictions of three test images as an array, for `_timesnet_report.draw_sheet`."""
    items = [test[i] for i in np.linspace(0, len(test) - 1, 3).astype(int)]
    model.eval()
    with torch.inference_mode():
        samples = _predict(model, items)
    field = "depth" if task == "kitchen" else "sem_seg"
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        predictions_file(task, variant),
        images=np.stack([item["inputs"].permute(1, 2, 0).numpy() for item in items]),
        labels=np.stack([s.get(f"gt_{field}").data[0].numpy() for s in samples]),
        predictions=np.stack([s.get(f"pred_{field}").data[0].numpy() for s in samples]),
    )


def predictions_file(task: str, variant: str) -> Path:
    """Path of the array that `keep_predictions` writes."""
    return WORK_DIR / f"{task}_{variant.replace(' ', '_')}.npz"
