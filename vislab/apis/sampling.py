"""Batches for benchmarking a model: from the dataset of the config, or of random images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import DataLoader

from vislab.engine.runner import Runner
from vislab.errors import ConfigError
from vislab.structures import DataSample


def build_loader(cfg: Config, split: str = "test", **changes: Any) -> DataLoader:
    """Build the data loader of a split ("train", "val" or "test") with changed settings.

    Raises:
        ConfigError: The config has no such data loader.
    """
    init_default_scope(cfg.get("default_scope", "vislab"))
    section = cfg.get(f"{split}_dataloader")
    if not section:
        raise ConfigError(f"this config has no {split}_dataloader")
    return Runner.build_dataloader({**section, **changes}, seed=0)


def raw_batch(cfg: Config, *, split: str = "test", shape: Sequence[int] | None = None, batch_size: int = 1) -> dict:
    """Return a collated batch: {"inputs": list of (3, H, W) uint8, "data_samples": list of DataSample}.

    Args:
        cfg: A config.
        split: Split of the dataset; "test" falls back to "val" and "train".
        shape: (height, width) or (side,) of random images without labels, instead of the dataset.
        batch_size: Number of images.
    """
    if shape:
        height, width = (shape[0], shape[-1]) if len(shape) <= 2 else _refuse_shape(shape)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (batch_size, 3, height, width), dtype=torch.uint8, generator=generator)
        meta = {"ori_shape": (height, width), "img_shape": (height, width), "scale_factor": (1.0, 1.0)}
        return {"inputs": list(images), "data_samples": [DataSample(metainfo=dict(meta)) for _ in images]}
    splits = (split,) if split != "test" else ("test", "val", "train")
    present = [name for name in splits if cfg.get(f"{name}_dataloader")]
    if not present:
        raise ConfigError(f"this config has no {split}_dataloader; set an image size with --shape H W")
    loader = build_loader(cfg, present[0], batch_size=batch_size, num_workers=0, persistent_workers=False)
    return next(iter(loader))


def one_batch(cfg: Config, model: nn.Module, *, training: bool = False, **data: Any) -> Mapping[str, Any]:
    """Return `raw_batch(cfg, **data)` after the data preprocessor, to be passed as `model(**batch, mode=...)`."""
    batch = raw_batch(cfg, **data)
    with torch.no_grad():
        return model.data_preprocessor(batch, training)


def _refuse_shape(shape: Sequence[int]) -> None:
    raise ConfigError(f"--shape {' '.join(map(str, shape))}: expected height and width, or one side")
