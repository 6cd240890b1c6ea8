"""Small MutDet models and samples with pseudo boxes and embeddings for tests."""

import torch

from tests.helpers.deformable_detr import CLASSES, DINO, LAYERS, images, labeled, small
from vislab.models.deformable_detr import DeformableDETR
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.systems.mutdet import MutDet

DIM = 32
ENHANCEMENT = {"depth": 2, "num_heads": 4, "hidden_dim": 48, "embed_dim": 40}
SETTINGS = {
    "backbone": {"name": "resnet10t", "out_indices": (2, 3, 4), "frozen_stages": -1},
    "num_classes": CLASSES, "num_queries": 6, "dim": DIM, "neck": {"norm_groups": 8}, "encoder": LAYERS,
    "decoder": LAYERS | DINO, "denoising": {"num_queries": 8}, "enhancement": ENHANCEMENT,
    "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
}  # fmt: skip


def small_mutdet(**changes) -> MutDet:
    """A model with random weights, also where weights start at zero."""
    return _randomized(MutDet(**(SETTINGS | changes)))


def small_detector(**changes) -> DeformableDETR:
    """The detector that is fine-tuned from `small_mutdet`."""
    return small("rotated", **changes)


def _randomized(model: MutDet) -> MutDet:
    for name, parameter in model.named_parameters():
        if "sampling_offsets.weight" in name or "boxes.layers.2.weight" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def embedded(count: int, objects: tuple[int, ...] = (2, 3), dim: int = DIM, seed: int = 1) -> list[DataSample]:
    """Samples of `labeled` with unit embeddings."""
    generator = torch.Generator().manual_seed(seed)
    samples = labeled(count, objects=objects, seed=seed)
    for sample in samples:
        rows = torch.randn(len(sample.gt_instances.labels), dim, generator=generator)
        sample.gt_instances.embeddings = torch.nn.functional.normalize(rows, dim=1)
    return samples


__all__ = ["DIM", "ENHANCEMENT", "SETTINGS", "embedded", "images", "small_detector", "small_mutdet"]
