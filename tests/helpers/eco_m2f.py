"""A small EcoM2F, images with labels, and a derived dataset in which hard images benefit from more layers."""

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import nn

from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.systems.eco_m2f import (
    Derived,
    EcoM2F,
)

CLASSES = 4


EXITS = (1, 2, 3)


def build_model(**changes) -> EcoM2F:
    settings = {
        "num_classes": CLASSES,
        "thing_classes": 2,
        "exits": EXITS,
        "num_queries": 6,
        "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": 3},
        "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": 3},
        "loss": {"num_points": 50},
        "inference": {"score_threshold": 0.0, "overlap_threshold": 0.0},
        "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
    } | changes
    model = EcoM2F(backbone={"name": "resnet10t", "model_args": {"zero_init_last": False}}, **settings)
    for layer in model.pixel_decoder.layers:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    return model


def random_images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def labeled_samples(count: int) -> list[DataSample]:
    found = []
    for i in range(count):
        sample = DataSample(metainfo={"img_path": f"{i}.png", "img_shape": (64, 64), "ori_shape": (64, 64)})
        ids = torch.ones(64, 64, dtype=torch.int32)
        ids[10 + i : 40, 5:30] = 2
        segments = [{"id": 1, "category": 3, "iscrowd": 0}, {"id": 2, "category": i % 2, "iscrowd": 0}]
        masks = torch.stack([ids == 1, ids == 2]).to(torch.uint8)
        sample.gt_instances = InstanceData(labels=torch.tensor([3, i % 2]), masks=masks)
        sample.gt_panoptic = PixelData(data=ids[None], metainfo={"segments_info": segments})
        sample.gt_sem_seg = PixelData(data=torch.where(ids == 1, 3, i % 2)[None].long())
        found.append(sample)
    return found


def labeled_batches(count: int, size: int = 2) -> list[dict]:
    pixels = (random_images(count) * 255).to(torch.uint8)
    samples = labeled_samples(count)
    return [
        {"inputs": list(pixels[i : i + size]), "data_samples": samples[i : i + size]} for i in range(0, count, size)
    ]


def toy_derived(count=300, seed=0) -> Derived:
    """Hard images (a positive first feature) gain from depth, easy ones do not."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 2, (count, 8)).astype(np.float32) + 5
    hard = features[:, :1] > 5
    quality = np.where(hard, 0.4 + 0.05 * np.arange(3), 0.6) + rng.normal(0, 0.01, (count, 3))
    return Derived(quality, features, EXITS, [str(i) for i in range(count)], None, "pq")
