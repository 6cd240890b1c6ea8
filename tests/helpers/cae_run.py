"""A run of CAE of seconds: noise images, masks drawn in the pipeline, AdamW."""

from pathlib import Path

import numpy as np
import torch

from vislab.datasets.in_memory import InMemoryImages
from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip
from vislab.engine.runner import Runner
from vislab.models.encoders.vit import ViT
from vislab.systems.cae import CAE, CollapseHook, MaskedLosses, RandomMask


class NoiseImages(InMemoryImages):
    """24 images of 16x16."""

    def __init__(self, *, pipeline=()) -> None:
        super().__init__(pipeline=pipeline)
        self.set_images(np.random.RandomState(0).randint(0, 256, (24, 16, 16, 3)).astype(np.uint8))

    def load_data_list(self) -> list[dict]:
        return [{"img_path": f"{row}.png", "row": row} for row in range(24)]


def _mask(changes: dict | None) -> dict:
    return {"type": RandomMask, "num_masked": 8, "patch_size": 4, **(changes or {})}


def make_runner(
    folder: Path | str,
    *,
    total: int,
    batch: int,
    drop_path: float = 0.0,
    model: dict | None = None,
    mask: dict | None = None,
    hooks: tuple = (),
    **options,
) -> Runner:
    """A run of `total` iterations; each step's losses go to `runner.steps`. `model`, `mask`, `hooks` add to it."""
    dim = {"dim": 16, "num_heads": 2, "drop_path_rate": drop_path}
    pipeline = [{"type": LoadImage}, {"type": RandomFlip}, _mask(mask)]
    dataset = {"type": NoiseImages, "pipeline": [*pipeline, {"type": PackInputs}]}
    runner = Runner(
        model={
            "type": CAE,
            "encoder": {"type": ViT, "img_size": 16, "patch_size": 4, "depth": 2, **dim},
            "regressor": {"depth": 1, **dim},
            "decoder": {"depth": 1, "num_heads": 2},
            **(model or {}),
        },
        work_dir=str(folder),
        experiment_name=f"cae{Path(folder).name}{total}{options.get('resume', False)}",
        train_dataloader={
            "dataset": dataset,
            "sampler": {"type": "InfiniteSampler", "shuffle": True},
            "batch_size": batch,
        },
        val_dataloader={"dataset": dataset, "sampler": {"type": "EpochSampler", "shuffle": False}, "batch_size": 6},
        train_cfg={"by_epoch": False, "max_iters": total, "val_interval": 5},
        val_cfg={},
        val_evaluator={"type": MaskedLosses},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 1e-3}, "clip_grad": {"max_norm": 3.0}},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 5}},
        custom_hooks=[{"type": CollapseHook, "interval": 4}, *hooks],
        randomness={"seed": 3},
        log_level="WARNING",
        **options,
    )
    runner.steps = []
    step = runner.model.train_step

    def recording(data, optim_wrapper):
        outputs = step(data, optim_wrapper)
        loss = outputs["loss"].detach().clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(loss)
            loss /= torch.distributed.get_world_size()
        runner.steps.append(loss.item())
        return outputs

    runner.model.train_step = recording
    return runner
