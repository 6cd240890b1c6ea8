"""A run of a second: random data in memory, random augmentation, a model with dropout and batch norm, SGD, EMA."""

import random
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from vislab.datasets.base import BaseDataset
from vislab.engine.runner import Runner


class ToyDataset(BaseDataset):
    """`length` points in 4 dimensions; every read is counted in `reads` (this process only)."""

    METAINFO = {"classes": ("a", "b"), "palette": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)}

    def __init__(self, *, length: int = 24, pipeline=()) -> None:
        self.length = length
        self.reads = []
        super().__init__(pipeline=pipeline)

    def load_data_list(self) -> list[dict]:
        points = np.random.RandomState(0).randn(self.length, 4).astype(np.float32)
        return [{"img_path": f"point_{i}.png", "point": p} for i, p in enumerate(points)]

    def prepare_data(self, idx):
        self.reads.append(int(idx))
        return super().prepare_data(idx)


def jitter(results: dict) -> dict:
    """A transform that draws from all three generators."""
    noise = np.random.rand(4).astype(np.float32) + random.random() + torch.rand(4).numpy()
    point = results["point"] + 0.1 * noise.astype(np.float32)
    return {"inputs": torch.from_numpy(point), "data_samples": {"sample_idx": results["sample_idx"]}}


def plain(results: dict) -> dict:
    return {"inputs": torch.from_numpy(results["point"]), "data_samples": {"sample_idx": results["sample_idx"]}}


class Slow:
    """Two milliseconds a sample, so that there is time to kill the run."""

    def __call__(self, results: dict) -> dict:
        time.sleep(0.002)
        return results


class Jitter:
    """`jitter` for config files, which name classes."""

    def __call__(self, results: dict) -> dict:
        return jitter(results)


class ToyModel(BaseModel):
    """Reconstructs its input; with `width` it can be made to have other shapes."""

    def __init__(self, *, width: int = 8, dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width) if norm else nn.Identity())
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, 4)

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        inputs = torch.stack(list(inputs))
        outputs = self.head(self.drop(torch.tanh(self.encoder(inputs))))
        if mode == "loss":
            return {"loss_mse": (outputs - inputs).square().mean(), "loss_l1": (outputs - inputs).abs().mean()}
        return [{"error": (o - i).square().mean().item()} for o, i in zip(outputs, inputs, strict=True)]


class ToyMetric(BaseMetric):
    """The mean error; draws random numbers while at it, as a careless metric would."""

    default_prefix = "toy"

    def process(self, data_batch, data_samples) -> None:
        np.random.rand(), torch.rand(3), random.random()
        self.results += [sample["error"] for sample in data_samples]

    def compute_metrics(self, results) -> dict:
        return {"error": float(np.mean(results))}


def toy_config(work_dir: Path | str, *, by_epoch: bool = True, total: int = 4, workers: int = 0, **changes) -> dict:
    """Arguments of Runner: 24 samples in batches of 4, so 6 iterations an epoch; `total` epochs or iterations."""
    sampler = "EpochSampler" if by_epoch else "InfiniteSampler"
    loop = {"by_epoch": True, "max_epochs": total} if by_epoch else {"by_epoch": False, "max_iters": total}
    config = {
        "model": {"type": ToyModel},
        "work_dir": str(work_dir),
        "train_dataloader": {
            "dataset": {"type": ToyDataset, "pipeline": [jitter]},
            "sampler": {"type": sampler, "shuffle": True},
            "batch_size": 4,
            "num_workers": workers,
        },
        "train_cfg": loop | {"val_interval": 1 if by_epoch else 5},
        "val_dataloader": {
            "dataset": {"type": ToyDataset, "pipeline": [plain]},
            "sampler": {"type": "EpochSampler", "shuffle": False},
            "batch_size": 8,
        },
        "val_cfg": {},
        "val_evaluator": {"type": ToyMetric},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 5},
            {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 5, "T_max": 40},
        ],
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1 if by_epoch else 4}},
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.1}],
        "randomness": {"seed": 3},
        "log_level": "WARNING",
    }
    return config | changes


_runs = 0


def make_runner(work_dir: Path | str, **options) -> Runner:
    global _runs
    _runs += 1  # mmengine keeps one logger and one message hub for each name
    return Runner(**toy_config(work_dir, **options), experiment_name=f"toy{_runs}")


class Killed(Exception):
    """Stands for the process ending."""


def stop_at(runner: Runner, iteration: int) -> None:
    """Let the run break off right before this iteration's training step."""
    step = runner.model.train_step

    def guarded(*args, **kwargs):
        if runner.iter == iteration:
            raise Killed
        return step(*args, **kwargs)

    runner.model.train_step = guarded


def broken_run(folder: Path | str, at: int, **options) -> None:
    """Train a run that breaks off right before the training step of iteration `at`."""
    runner = make_runner(folder, **options)
    stop_at(runner, at)
    try:
        runner.train()
    except Killed:
        return
    raise AssertionError(f"the run ended before iteration {at}")
