"""Small Deformable DETR models and labels for tests."""

import math

import torch
from mmengine.structures import InstanceData

from vislab.models.deformable_detr import DeformableDETR
from vislab.models.preprocessor import ImagePreprocessor
from vislab.structures import DataSample
from vislab.structures.boxes import cxcywh_to_xyxy
from vislab.structures.rotated_boxes import normalize

CLASSES = 5
LAYERS = {"num_layers": 2, "num_heads": 4, "ffn_dim": 48, "dropout": 0.0}
DINO = {"look_forward_twice": True, "output_norm": True, "box_position": True, "eps": 1e-3}
KINDS = {
    "plain": {},
    "box_refine": {"box_refine": True},
    "two_stage": {"box_refine": True, "two_stage": True},
    "rotated": {"box_refine": True, "two_stage": True, "learned_content": True, "rotated": True,
                "decoder": LAYERS | DINO, "denoising": {"num_queries": 8}},
}  # fmt: skip


def small(kind: str = "plain", model_type: type[DeformableDETR] = DeformableDETR, **changes) -> DeformableDETR:
    """A model of one of KINDS with random weights, also where weights start at zero."""
    backbone = {"name": "resnet10t", "out_indices": (2, 3, 4), "model_args": {"zero_init_last": False}}
    settings = {
        "backbone": backbone, "num_classes": CLASSES, "num_queries": 6, "dim": 32, "num_levels": 4,
        "neck": {"norm_groups": 8}, "encoder": LAYERS, "decoder": LAYERS,
        "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
    }  # fmt: skip
    model = model_type(**(settings | KINDS[kind] | changes))
    for name, parameter in model.named_parameters():
        if "sampling_offsets.weight" in name or "boxes.layers.2.weight" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def labeled(count: int, size: tuple[int, int] = (64, 96), seed: int = 1, objects: tuple[int, ...] = (2, 3)):
    """Samples with bboxes and rbboxes inside images of `size` (h, w)."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for i in range(count):
        n = objects[i % len(objects)]
        scale = torch.tensor((size[1], size[0]), dtype=torch.float32)
        centers = (0.3 + 0.4 * torch.rand(n, 2, generator=generator)) * scale
        sides = 6 + 14 * torch.rand(n, 2, generator=generator)
        theta = (torch.rand(n, 1, generator=generator) - 0.5) * math.pi
        sample = DataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_instances = InstanceData(
            labels=torch.randint(0, CLASSES, (n,), generator=generator),
            bboxes=cxcywh_to_xyxy(torch.cat((centers, sides), 1)),
            rbboxes=normalize(torch.cat((centers, sides, theta), 1)),
        )
        samples.append(sample)
    return samples


def images(count: int, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(3))
