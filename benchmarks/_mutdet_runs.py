"""Runs of mutdet_fewshot.py: pseudo labels of a dataset, one pre-training, one fine-tuning."""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.logging import MMLogger

from vislab.apis import load, train
from vislab.datasets.scenes import Scenes
from vislab.systems.mutdet import pseudo_labels as stage  # and registers what is used by name below
from vislab.systems.mutdet.contour_proposer import ContourProposer
from vislab.systems.mutdet.crops import CropEncoder

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "mutdet"
WORK_DIR = ROOT / "work_dirs" / "mutdet_fewshot"
WEIGHTS = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
DIMS, CLUSTERS = 128, 64
REGRESSION = {"type": "EmbeddingRegression", "distance": "l1"}
ARMS: dict[str, dict[str, Any] | None] = {  # changes of MutDet for pre-training; None: no pre-training
    "scratch": None,
    "scratch, equal compute": None,
    "DETReg": {"enhancement": None, "alignment": REGRESSION},
    "contrastive": {"enhancement": None},
    "enhanced embedding": {"enhance_features": False},
    "enhanced features": {"siamese": False, "align_proposals": False},
    "MutDet": {},
}
DATA: dict[str, dict[str, Any]] = {
    "hit_uav": {
        "config": "rotated_detr_lite0_hit_uav_cpu.py",
        "images": "$VISLAB_DATA/hit_uav/train",
        "pretrain": {},
        "shares": (0.01, 0.05, 0.1, 0.25),
    },
    "scenes": {
        "config": "rotated_detr_lite0_scenes_cpu.py",
        "images": None,  # written to the work folder
        "pretrain": {
            "size": (128, 128),
            "model.num_queries": 40,
            "model.denoising.num_queries": 40,
            "train_dataloader.batch_size": 8,
        },
        "shares": (0.01, 0.05, 0.1, 0.25),
    },
}
SCENES = 2000


def pseudo_labels(data: str, folder: Path, limit: int | None) -> tuple[str, str]:
    """Run stage 1 if it was not run before; returns the folder of the images and the file of pseudo labels.

    Args:
        data: A key of DATA.
        folder: Folder of the results.
        limit: Number of images, in a folder of copies. None: all.
    """
    images, target = folder / "images", folder / "pseudo_labels.safetensors"
    if DATA[data]["images"] is not None and limit is None:
        images = Path(os.path.expandvars(DATA[data]["images"]))
    elif not images.exists():
        _copy_images(data, images, limit)
    if not target.exists():
        encoder = CropEncoder(name="tf_efficientnet_lite0", pretrained=os.path.expandvars(WEIGHTS))
        settings = {"encoder": "tf_efficientnet_lite0"}
        for done, total, _ in stage.find_objects(
            images, folder / "partial", ContourProposer(limit=30), encoder, settings
        ):
            print(f"\r{data}: pseudo boxes of {done} of {total} images", end="", flush=True)
        print()
        stage.finish(images, folder / "partial", target, {"dims": DIMS, "clusters": CLUSTERS})
    return str(images), str(target)


def _copy_images(data: str, images: Path, limit: int | None) -> None:
    partial = images.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    if data == "scenes":
        scenes = Scenes(size=128, num_objects=(1, 10), length=limit or SCENES, seed=1)
        for i in range(len(scenes)):
            cv2.imwrite(str(partial / f"{i:05d}.png"), cv2.cvtColor(scenes[i]["img"], cv2.COLOR_RGB2BGR))
    else:
        source = Path(os.path.expandvars(DATA[data]["images"]))
        for path in sorted(source.iterdir())[:limit]:
            shutil.copy(path, partial / path.name)
    partial.rename(images)


def train_once(job: dict[str, Any]) -> dict[str, Any]:
    """Pre-train or fine-tune; returns the job with its metrics, checkpoint, and wall and CPU seconds.

    Args:
        job: Data, arm, seed, steps and work_dir; for pre-training `source` (images, pseudo labels), and for fine-tuning
            share, load_from (None = random detector) and every (evaluate after so many steps).
    """
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    cfg = _pretraining(job) if job["kind"] == "pretrain" else _finetuning(job)
    cfg.default_hooks.checkpoint.interval = job["steps"]
    work = Path(job["work_dir"])
    shutil.rmtree(work, ignore_errors=True)
    began, cpu = time.perf_counter(), time.process_time()
    metrics = train(cfg, work_dir=work, seed=job["seed"], load_from=job.get("load_from"))
    found = {"metrics": metrics, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    if job["kind"] == "finetune":
        shutil.rmtree(work)
    return job | found | {"checkpoint": str(work / f"iter_{job['steps']}.pth")}


def _pretraining(job: dict[str, Any]) -> Any:
    images, labels = job["source"]
    options = {"data_root": images, "pseudo_labels": labels, **DATA[job["data"]]["pretrain"]}
    cfg = load(CONFIGS / "mutdet_pretrain_lite0_hit_uav_cpu.py", options | _schedule(job["steps"]))
    cfg.model.update(ARMS[job["arm"]])
    return cfg


def _finetuning(job: dict[str, Any]) -> Any:
    cfg = load(CONFIGS / DATA[job["data"]]["config"], _schedule(job["steps"]))
    dataset = cfg.train_dataloader.dataset
    if job["data"] == "scenes":
        dataset.update(length=max(1, round(job["share"] * SCENES)), seed=1000 + job["seed"])
    else:
        dataset.update(label_share=job["share"], label_seed=job["seed"])
    if job["images"] is not None:  # --quick
        key = "length" if job["data"] == "scenes" else "indices"
        cfg.val_dataloader.dataset[key] = job["images"]
    if job["load_from"] is not None:
        cfg.custom_hooks = [{"type": "StartFromPretraining"}]
    return cfg


def _schedule(steps: int) -> dict[str, Any]:
    return {"train_cfg.max_iters": steps, "train_cfg.val_interval": steps}
