"""One arm of cae_probe.py with one seed: training by its config, statistics of the latents, probes."""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK_DIR = ROOT / "work_dirs" / "cae_probe"
DATA = "$VISLAB_DATA/cifar10_subset.zip"
BASE = "cae_vit_cifar10_norm_pixel_cpu"
# arm: (config, whether it is trained)
ARMS: dict[str, tuple[str, bool]] = {
    "CAE, normalized pixels": (BASE, True),
    "CAE, HOG": ("cae_vit_cifar10_hog_cpu", True),
    "CAE, clusters": ("cae_vit_cifar10_clusters_cpu", True),
    "CAE v2, features of Lite0 (labels of ImageNet)": ("cae_vit_cifar10_features_cpu", True),
    "CAE without alignment (lambda = 0)": ("cae_vit_cifar10_no_alignment_cpu", True),
    "CAE without reconstruction": ("cae_vit_cifar10_no_reconstruction_cpu", True),
    "SimMIM": ("simmim_vit_cifar10_norm_pixel_cpu", True),
    "MAE": ("mae_vit_cifar10_norm_pixel_cpu", True),
    "random initialization": (BASE, False),
    "raw pixels": ("pixels", False),
}
WARNING = "the latents collapse"  # of CollapseHook


def config_path(name: str) -> str:
    """Return the path of a config of CAE."""
    return str(ROOT / "configs" / "cae" / f"{name}.py")


def step_flops(name: str) -> float:
    """Return the floating-point operations of a training step for one image, teachers included."""
    from torch.utils.flop_counter import FlopCounterMode

    from vislab.apis.build import build_model, load
    from vislab.apis.sampling import one_batch

    cfg = load(config_path(name), {"train_dataloader.dataset.indices": 8})
    model = build_model(cfg, device="cpu").train()
    batch = one_batch(cfg, model, training=True, split="train", batch_size=8)
    with FlopCounterMode(display=False) as counter:
        losses = model(**batch, mode="loss")
        sum(value for key, value in losses.items() if "loss" in key).backward()
    return counter.get_total_flops() / 8


def folder_of(job: dict[str, Any]) -> Path:
    """Return the folder of a job."""
    name, trained = ARMS[job["arm"]]
    return WORK_DIR / job["form"] / f"{name}{'' if trained else '_untrained'}_seed{job['seed']}"


def run_arm(job: dict[str, Any]) -> dict[str, Any]:
    """Train an arm, unless it is untrained, and probe it; returns the job with its results.

    An interrupted training is resumed from its last epoch.

    Args:
        job: Arm, seed, epochs, images (of an epoch, evenly spaced over the training set), train and test (images of the
            probe), kinds (of probes), probe_epochs, form.
    """
    began, before = time.perf_counter(), _child_seconds()
    name, trained = ARMS[job["arm"]]
    folder = folder_of(job)
    checkpoint = None
    if trained:
        checkpoint = _train(name, folder, job)
    seconds = {"seconds": time.perf_counter() - began, "cpu": _child_seconds() - before}
    found = {**job, **seconds, **_statistics(name, checkpoint, job), **_probe(name, checkpoint, folder, job)}
    found["warned"] = trained and any(WARNING in path.read_text() for path in folder.glob("*/*.log"))
    shutil.rmtree(folder / "features", ignore_errors=True)
    return found


def _child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _train(name: str, folder: Path, job: dict[str, Any]) -> Path:
    """Train a config in a process of its own, and return the last checkpoint."""
    epochs = job["epochs"]
    options = {
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.checkpoint.max_keep_ckpts": 1,
        "train_dataloader.dataset.indices": job["images"],
        "val_dataloader.dataset.indices": 256,
        **({"custom_hooks.3.train": 200, "custom_hooks.3.test": 50} if name == BASE else {}),  # its ProbeHook
    }
    command = [sys.executable, str(ROOT / "tools/train.py"), config_path(name), "--work-dir", str(folder)]
    command += ["--resume", "--seed", str(job["seed"]), "--cfg-options", *(f"{k}={v}" for k, v in options.items())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return folder / f"epoch_{epochs}.pth"


def _statistics(name: str, checkpoint: Path | None, job: dict[str, Any]) -> dict[str, float]:
    """Return losses on 256 test images without their weights, and statistics of the latents; {} for raw pixels.

    "latent_std" and "latent_rank" are those of training, of the encoded patches; "effective_rank" is that of all
    patches of the images.
    """
    if name == "pixels":
        return {}
    import torch
    from mmengine.dataset import pseudo_collate

    from vislab.apis.build import build_model, load
    from vislab.datasets.base import seeded
    from vislab.registry import DATASETS

    cfg = load(config_path(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job["seed"])
        model = build_model(cfg, checkpoint, "cpu")
    dataset = DATASETS.build({**cfg.val_dataloader.dataset, "cache": False})
    samples = []
    for place in range(0, len(dataset), len(dataset) // 256):
        with seeded(place):  # the same masks for all arms
            samples.append(dataset[place])
    with torch.inference_mode():
        batch = model.data_preprocessor(pseudo_collate(samples), False)
        values = model(**batch, mode="loss")
        predicted = model(**batch, mode="predict")
        latents = model.encoder.encode(model.encoder.patches(batch["inputs"]))[:, 1:]
    found = {key: values[key].item() for key in ("latent_std", "latent_rank")}
    found["effective_rank"] = effective_rank(latents)
    for loss in ("reconstruction", "alignment"):
        key = f"pred_{loss}_loss"
        if checkpoint is not None and key in predicted[0]:
            found[loss] = sum(float(sample.get(key)) for sample in predicted) / len(predicted)
    return found


def effective_rank(latents: Any) -> float:
    """Return the exponential of the entropy of the singular values of latents (B, N, D) beyond their mean by position.

    This is the effective rank of Roy and Vetterli, as in RankMe (arXiv 2210.02885).
    """
    import torch

    spread = (latents - latents.mean(dim=0)).flatten(0, 1).double()
    values = torch.linalg.svdvals(spread)
    shares = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(shares).sum().exp().item()


def _probe(name: str, checkpoint: Path | None, folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    from vislab.apis import probe

    pixels = name == "pixels"
    found = probe(
        name if pixels else config_path(name),
        checkpoint,
        data=DATA,
        kind=("knn", "linear") if pixels else job["kinds"],
        size=32 if pixels else None,
        train=job["train"],
        test=job["test"],
        seeds=(job["seed"],),
        epochs=job["probe_epochs"],
        device="cpu",
        work_dir=folder,
    )
    return {key.removeprefix("probe/"): value for key, value in found.items()}
