"""Models of configs without content, and batches as a loader gives them, for steps on the simulated GPU."""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.structures import InstanceData, LabelData, PixelData
from torch import nn

from tests.helpers.pretended_gpu import with_content
from tests.helpers.small_configs import shrink
from vislab.engine.config.components import resolve
from vislab.engine.config.load import load_config
from vislab.models.deformable_detr import DeformableDETR
from vislab.models.mask2former import Mask2Former
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.eco_m2f.early_exits import EarlyExits


def build(path: Path, small: bool = True, device: str = "meta") -> tuple[nn.Module, dict]:
    """The config's model with random weights on a device, reduced if `small`, and its optimizer's settings."""
    cfg = load_config(path)._cfg_dict
    if small:
        shrink(cfg)
        _two_layers(cfg.model)
    _without_weights(cfg.model)
    with torch.device(device):
        return MODELS.build(cfg.model), cfg.optim_wrapper


def _two_layers(model: dict) -> None:
    """Leave two layers of each stack of a detector or of Mask2Former: the others are like them."""
    kind = resolve(model["type"], MODELS)
    parts = {Mask2Former: ("pixel_decoder", "decoder"), DeformableDETR: ("encoder", "decoder")}
    for part in next((names for base, names in parts.items() if issubclass(kind, base)), ()):
        model[part] = {**(model.get(part) or {}), "num_layers": 2}
    if issubclass(kind, EarlyExits):
        model["exits"] = (1, 2)


def _without_weights(node) -> None:
    if isinstance(node, dict):
        node.update({"pretrained": False} if "pretrained" in node else {})
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        _without_weights(child)


def batch(model: nn.Module, sizes: tuple[int, int] | None = None, objects: Sequence[int] = (2, 1)) -> dict:
    """Images as a loader gives them, on the host, labeled for every task.

    Args:
        model: Model whose smallest legal size is used if `sizes` is None.
        sizes: Height and width.
        objects: Number of objects of each image.
    """
    stride = getattr(model, "stride", 64)
    smallest = getattr(getattr(getattr(model, "network", None), "patch_embed", None), "img_size", (stride, stride))
    sizes = sizes or smallest
    samples = []
    for count in objects:
        sample = DataSample(metainfo={"img_shape": sizes, "ori_shape": (sizes[0] + 7, sizes[1] + 9)})
        sample.gt_instances = InstanceData(
            labels=torch.zeros(count, dtype=torch.int64),
            ignore=torch.zeros(count, dtype=torch.bool),
            bboxes=torch.tensor([[4.0, 6.0, 20.0, 30.0]]).repeat(count, 1),
            rbboxes=torch.tensor([[12.0, 18.0, 24.0, 16.0, 0.5]]).repeat(count, 1),
            masks=torch.ones(count, *sizes, dtype=torch.uint8),
            embeddings=torch.ones(count, getattr(model, "embed_dim", 1)),
        )
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *sizes, dtype=torch.int64))
        sample.gt_depth = PixelData(data=torch.ones(1, *sizes))
        sample.gt_label = LabelData(label=torch.zeros(1, dtype=torch.int64))
        grid = getattr(getattr(model, "encoder", None), "grid", (2, 2))
        sample.patch_mask = with_content(lambda grid=grid: torch.arange(grid[0] * grid[1]).view(grid) % 2 == 0)
        sample.target_img = torch.zeros(3, 8 * grid[0], 8 * grid[1], dtype=torch.uint8)
        samples.append(sample)
    return {"inputs": [torch.zeros(3, *sizes, dtype=torch.uint8) for _ in samples], "data_samples": samples}
