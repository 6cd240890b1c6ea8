"""Runs of mutdet_fewshot.py: pseudo labels of a dataset, one pre-training, one fine-tuning."""

import json
import logging
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from vislab.apis import load, train
from vislab.datasets.hit_uav import HITUAV
from vislab.datasets.label_share import choose_share
from vislab.datasets.scenes import Scenes
from vislab.registry import HOOKS
from vislab.systems.mutdet import pseudo_labels as stage  # and registers what is used by name below
from vislab.systems.mutdet.contour_proposer import ContourProposer
from vislab.systems.mutdet.crops import CropEncoder

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "mutdet"
WEIGHTS = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
DIMS, CLUSTERS, CROP = 128, 64, 64  # objects of both sets are smaller than the crops
METRICS = {"AP50": "mAP_50_11point", "AP75": "mAP_75_11point", "AP": "mAP_11point"}
REGRESSION = {"type": "EmbeddingRegression", "distance": "l1"}
EQUAL = "scratch, equal compute"
ARMS: dict[str, dict[str, Any] | None] = {  # changes of MutDet for pre-training; None: no pre-training
    "scratch": None,
    EQUAL: None,
    "DETReg": {"enhancement": None, "alignment": REGRESSION, "num_classes": 1},
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
        "validation": 100,  # images
    },
    "scenes": {
        "config": "rotated_detr_lite0_scenes_cpu.py",
        "images": None,  # written to the work folder
        "pretrain": {"size": (128, 128)},
        "shares": (0.01, 0.05, 0.1, 0.25),
        "validation": 200,
    },
}
# the small detector of all runs: a frozen backbone, and fewer layers and queries than in the configs
MODEL = {
    "model.backbone.frozen_stages": -1,
    "model.encoder.num_layers": 1,
    "model.decoder.num_layers": 2,
    "model.num_queries": 60,
    "model.denoising.num_queries": 60,
}
SCENES, VALIDATION, SEARCH_SEED = 2000, 60, 1000


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
        encoder = CropEncoder(name="tf_efficientnet_lite0", pretrained=os.path.expandvars(WEIGHTS), size=CROP)
        settings = {"encoder": "tf_efficientnet_lite0", "size": CROP}
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
    """Pre-train, fine-tune, or fine-tune on some training images and validate on others.

    Args:
        job: kind ("pretrain", "finetune", "search"), data, arm, seed, steps and work_dir; for pre-training `source`
            (images, pseudo labels), otherwise share, lr (None = that of the config), images (of validation; None = all)
            and load_from (None = random detector).

    Returns:
        The job with metrics (at the end), curve (step and metrics, three times), step_cpu (median CPU seconds of a
        step), eval_cpu (of a validation), seconds and checkpoint.
    """
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    cfg = _pretraining(job) if job["kind"] == "pretrain" else _finetuning(job)
    work = Path(job["work_dir"])
    shutil.rmtree(work, ignore_errors=True)
    record = Path(f"{work}.curve.json")
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), {"type": "RecordRun", "path": str(record)}]
    began = time.perf_counter()
    train(cfg, work_dir=work, seed=job["seed"], load_from=job.get("load_from"))
    found = json.loads(record.read_text()) | {"seconds": time.perf_counter() - began}
    record.unlink()
    if job["kind"] != "pretrain":
        shutil.rmtree(work)
    return job | found | {"checkpoint": str(work / f"iter_{job['steps']}.pth")}


def _pretraining(job: dict[str, Any]) -> Any:
    images, labels = job["source"]
    options = {"data_root": images, "pseudo_labels": labels, "train_dataloader.batch_size": 2}
    options |= DATA[job["data"]]["pretrain"] | MODEL | _schedule(job["steps"])
    cfg = load(CONFIGS / "mutdet_pretrain_lite0_hit_uav_cpu.py", options)
    cfg.model.update(ARMS[job["arm"]])
    cfg.train_cfg.val_interval = job["steps"]
    cfg.val_dataloader.dataset.indices = 2  # its AP says little
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.single_class = cfg.model.num_classes == 1
    return cfg


def _finetuning(job: dict[str, Any]) -> Any:
    options = {"train_dataloader.batch_size": 2, **MODEL, **_schedule(job["steps"])}
    if job["lr"] is not None:
        options["optim_wrapper.optimizer.lr"] = job["lr"]
        options["optim_wrapper.optimizer.adam_lr"] = job["lr"] / 10
    cfg = load(CONFIGS / DATA[job["data"]]["config"], options)
    training, validation = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    search = job["kind"] == "search"
    if job["data"] == "scenes":
        seed = 1000 + (SEARCH_SEED if search else 0) + job["seed"]
        training.update(length=max(1, round(job["share"] * SCENES)), seed=seed)
        if search:
            validation.update(seed=seed + 1, length=VALIDATION)
    elif search:
        labeled, held_out = search_images(training.ann_file, job["share"], job["seed"])
        training.update(indices=labeled, filter_empty=False)
        validation.update(ann_file=training.ann_file, data_prefix=training.data_prefix, indices=held_out)
    else:
        training.update(label_share=job["share"], label_seed=job["seed"])
    if job["images"] is not None:
        validation["length" if job["data"] == "scenes" else "indices"] = job["images"]
    if job["load_from"] is not None:
        cfg.custom_hooks = [{"type": "StartFromPretraining"}]
    return cfg


def search_images(ann_file: str, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the indices of a share of HIT-UAV's training images that have objects, and of VALIDATION others."""
    data = HITUAV(data_root="$VISLAB_DATA/hit_uav", ann_file=ann_file, data_prefix={"img": "train"})
    records = [data.get_data_info(i) for i in range(len(data))]
    seen = [i for i, record in enumerate(records) if any(not x["ignore"] for x in record["instances"])]
    names = [records[i]["img_id"] for i in seen]
    labeled = choose_share(names, share, SEARCH_SEED + seed)
    rest = sorted(set(range(len(seen))) - set(labeled))
    held_out = choose_share([names[i] for i in rest], min(1.0, VALIDATION / len(rest)), SEARCH_SEED + seed)
    return [seen[i] for i in labeled], [seen[rest[i]] for i in held_out]


def _schedule(steps: int) -> dict[str, Any]:
    return {
        "train_cfg.max_iters": steps,
        "train_cfg.val_interval": max(1, -(-steps // 3)),
        "default_hooks.checkpoint.interval": steps,
    }


@HOOKS.register_module()
class RecordRun(Hook):
    """Writes the metrics of each validation, and the CPU seconds of a step and of a validation, to a JSON file."""

    priority = "LOWEST"

    def __init__(self, *, path: str) -> None:
        self.path, self.curve, self.steps, self.evaluations = path, [], [], []

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        self.began = time.process_time()

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.steps.append(time.process_time() - self.began)

    def before_val(self, runner) -> None:
        self.eval_began = time.process_time()

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self.evaluations.append(time.process_time() - self.eval_began)
        self.curve.append((runner.iter, {k: float(metrics[v]) for k, v in METRICS.items()}))

    def after_run(self, runner) -> None:
        found = {
            "metrics": self.curve[-1][1],
            "curve": self.curve,
            "step_cpu": statistics.median(self.steps),
            "eval_cpu": statistics.median(self.evaluations),
        }
        Path(self.path).write_text(json.dumps(found))
