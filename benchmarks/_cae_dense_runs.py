"""Runs of cae_dense.py: pre-training of a small ViT on photos without labels, and training of a dense model with it."""

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _timesnet_runs import PRETRAINED_SHARE, SIZE, WEIGHTS, fit
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger

import vislab.systems.cae
import vislab.systems.timesnet  # noqa: F401  registers TimesNet
from vislab.datasets.base import seeded
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip, RandomResizedCrop, ResizeShortestEdge
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.io.paths import expand_path
from vislab.models.dense import DepthEstimator, SemanticSegmentor
from vislab.registry import MODELS
from vislab.systems.cae import CAE, BlockMask, export_encoder

WORK_DIR = Path(__file__).resolve().parents[1] / "work_dirs" / "cae_dense"
SIDE, PATCH = 64, 8  # crops of the pre-training: 8x8 patches
ENCODER = {
    "img_size": SIDE,
    "patch_size": PATCH,
    "dim": 128,
    "depth": 6,
    "num_heads": 4,
    "init_values": 0.1,
    "patch_std": 0.15,
}
PART = {"depth": 1, "num_heads": 4, "init_values": 0.1}
PHOTOS = {  # folder: (pattern, number of images in the order of names); no image of a test set
    "coco_panoptic/train": ("*.jpg", None),
    "camvid/train": ("*.png", None),
    "rgbd_kitchen": ("*.color.jpg", 160),
}
STARTS = ("random", "CAE")
NETWORKS = ("FPN", "timesNet")


def weights_file(form: str, seed: int, start: str) -> Path:
    """Path of the exported encoder of a seed: "random" before, "CAE" after its pre-training."""
    return WORK_DIR / form / f"{start.lower()}_seed{seed}.safetensors"


@functools.cache
def photos(cifar: int) -> tuple[list[dict], list[dict]]:
    """Return photos with a short side of 160 pixels, and `cifar` training images of CIFAR-10, as records in memory."""
    read = [LoadImage(), ResizeShortestEdge(short_edge_length=160)]
    root = Path(expand_path("$VISLAB_DATA"))
    files = [p for folder, (pattern, count) in PHOTOS.items() for p in sorted((root / folder).glob(pattern))[:count]]
    large = [_run(read, {"img_path": str(path)}) for path in files]
    small = ImageFolder(data_root=str(root / "cifar10_subset.zip"), split="cifar10/train")
    places = (i * len(small) // cifar for i in range(cifar))
    return large, [_run(read[:1], {"img_path": small.get_data_info(i)["img_path"]}) for i in places]


def _run(steps: list, results: dict) -> dict:
    for step in steps:
        results = step(results)
    return results


def pretrain(job: dict[str, Any]) -> dict[str, Any]:
    """Pre-train the ViT of a seed, write the encoder before and after, and return the job with losses and seconds.

    Half of each batch are crops of photos, half images of CIFAR-10.

    Args:
        job: Seed, steps, batch, cifar (images of it), lr, form.
    """
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel("ERROR")
    seed, steps, size = job["seed"], job["steps"], job["batch"]
    torch.manual_seed(seed)
    model = CAE(
        encoder=dict(ENCODER),
        regressor={"dim": 128, **PART},
        decoder=dict(PART),
        alignment_weight=0.2,
    )
    mean, std = model.data_preprocessor.statistics
    export_encoder(model.encoder, weights_file(job["form"], seed, "random"), mean=mean, std=std)
    sets = photos(job["cifar"])
    end = [RandomFlip(prob=0.5), BlockMask(num_masked=32, patch_size=PATCH), PackInputs()]
    crops = [[RandomResizedCrop(size=SIDE, scale=scale), *end] for scale in ((0.05, 1.0), (0.6, 1.0))]
    wrapper = LayerDecayOptimConstructor(
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": job["lr"], "betas": (0.9, 0.95), "weight_decay": 0.05, "fused": True},
            "clip_grad": {"max_norm": 3.0},
        },
        {"layer_decay": 1.0},
    )(model)
    schedule = WarmupCosineLR(wrapper.optimizer, warmup=0.1, by_epoch=False, end=steps)
    order = np.random.default_rng(seed)
    began, cpu, values = time.perf_counter(), time.process_time(), []
    model.train()
    for step in range(steps):
        batch = []
        for place in range(size):
            which = place % 2
            with seeded(1_000_003 * seed + size * step + place):
                batch.append(_run(crops[which], dict(sets[which][order.integers(len(sets[which]))])))
        data = model.data_preprocessor(pseudo_collate(batch), True)
        total, logged = model.parse_losses(model(**data, mode="loss"))
        wrapper.update_params(total)
        schedule.step()
        values.append({key: round(value.item(), 4) for key, value in logged.items()})
    export_encoder(model.encoder.eval(), weights_file(job["form"], seed, "CAE"), mean=mean, std=std)
    seconds = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    return {**job, "values": values, **seconds}


def build(job: dict[str, Any]) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return the dense model of a job and the `Rules` of its optimizer."""
    encoder = {
        "name": "vit_base_patch16_224",
        "pretrained": str(weights_file(job["form"], job["encoder_seed"], job["start"])),
        "img_size": SIZE,
        "model_args": {"patch_size": PATCH, "embed_dim": 128, "depth": 6, "num_heads": 4, "init_values": 0.1},
    }
    share = {"network.encoder": job["share"]}
    if job["network"] == "FPN":
        network = {"type": "FPNNetwork", "encoder": encoder}
    else:
        decoder = {"name": "tf_efficientnet_lite0", "pretrained": WEIGHTS}
        network = {"type": "TimesNet", "encoder": encoder, "decoder": decoder, "pyramid_width": 32}
        share["network.decoder"] = PRETRAINED_SHARE
    with MODELS.switch_scope_and_registry("vislab"):
        if job["task"] == "kitchen":
            model = DepthEstimator(network=network, max_depth=5.0)
        else:
            model = SemanticSegmentor(network=network, num_classes=11)
    return model, {"layer_decay": 1.0, "lr_mult": share}


def train_dense(job: dict[str, Any]) -> dict[str, Any]:
    """Train a dense model; returns the job with its metrics at each evaluation.

    Args:
        job: Task, network, start (random | CAE), encoder_seed, seed, split, steps, every, lr, share (factor on the rate
            of the encoder), images, form.
    """
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(job["seed"])
    model, rules = build(job)
    return fit(model, rules, job)
