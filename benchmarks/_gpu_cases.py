"""Cases of gpu.py: models of this project and of others with the same weights and inputs, on any device.

A case returns candidates by name, this project's as "vislab"; the first one is the base of ratios. What is missing
raises `Missing` with the reason.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY)]


class Missing(Exception):
    """A package or repository that a case compares with is not here."""


class Candidate(NamedTuple):
    """`output` runs forward and gives what is compared; `loss` gives a scalar for backward; `model` is compiled."""

    model: nn.Module
    output: Callable[[], Tensor]
    loss: Callable[[], Tensor]


Candidates = dict[str, Candidate]


def attention(device: torch.device, batch: int, small: bool) -> Candidates:
    """Deformable attention of an encoder layer at 1024x1024, three levels: kernel or reference, and grid_sample."""
    from vislab.layers.position import pixel_centers
    from vislab.ops.ms_deform_attn import ms_deform_attn, sample_levels

    side = 64 if small else 1024
    shapes = tuple((side // s, side // s) for s in (32, 16, 8))
    generator = torch.Generator().manual_seed(0)
    count = sum(h * w for h, w in shapes)
    value = torch.randn(batch, count, 8, 32, generator=generator).to(device).requires_grad_()
    offsets = 0.02 * torch.randn(batch, count, 8, 3, 4, 2, generator=generator)
    locations = (pixel_centers(shapes)[None, :, None, None, None] + offsets).to(device).requires_grad_()
    weights = torch.rand(batch, count, 8, 3, 4, generator=generator).to(device).requires_grad_()

    class Core(nn.Module):
        def __init__(self, function: Callable) -> None:
            super().__init__()
            self.function = function

        def forward(self, kind: torch.dtype) -> Tensor:
            return self.function(value.to(kind), shapes, locations, weights)

    def candidate(function: Callable) -> Candidate:
        model = Core(function)

        def output() -> Tensor:
            reduced = torch.is_autocast_enabled(device.type)
            return model(torch.get_autocast_dtype(device.type) if reduced else torch.float32)

        return Candidate(model, output, lambda: output().float().square().mean())

    return {"grid_sample": candidate(sample_levels), "vislab": candidate(ms_deform_attn)}


def mask2former(device: torch.device, batch: int, small: bool) -> Candidates:
    """Mask2Former, Swin-T, at 512x512, with 8 objects an image; losses with matching."""
    _need("transformers")
    from tests.helpers import mask2former_peer as pair
    from vislab.models.mask2former import Target

    side, size = (64, pair.TINY) if small else (512, pair.SWIN_T)
    peer, ours = (model.to(device).eval() for model in pair.build_pair(size))
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    labels, masks = pair.random_labels(side, side, size["classes"], counts=[8] * batch)
    labels, masks = ([x.to(device) for x in values] for values in (labels, masks))
    targets = [Target(*one) for one in zip(labels, masks, strict=True)]
    real = [mask.float() for mask in masks]

    def our_loss() -> Tensor:
        maps = ours.backbone(images)
        state = ours.pixel_decoder.encode(ours.pixel_decoder.project(maps))
        return sum(ours.loss(maps[0], state, targets).values())

    return {
        "transformers": Candidate(
            peer,
            lambda: peer(images).masks_queries_logits,
            lambda: peer(images, mask_labels=real, class_labels=labels).loss,
        ),
        "vislab": Candidate(ours, lambda: ours(images)["mask_logits"], our_loss),
    }


def deformable_detr(device: torch.device, batch: int, small: bool) -> Candidates:
    """Deformable DETR, ResNet-50, at 800x800, with 8 objects an image; losses with matching."""
    _need("transformers")
    from mmengine.structures import InstanceData

    from tests.helpers import deformable_detr_peer as pair
    from vislab.structures import DataSample
    from vislab.structures.boxes import cxcywh_to_xyxy

    side, size = (64, pair.TINY) if small else (800, pair.R50)
    peer, ours = (model.to(device).eval() for model in pair.build_pair(size, "plain"))
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    labels, samples = [], []
    for kinds, boxes in pair.random_objects((8,) * batch, size["classes"]):
        kinds, boxes = kinds.to(device), boxes.to(device)
        sample = DataSample(metainfo={"img_shape": (side, side), "ori_shape": (side, side)})
        sample.gt_instances = InstanceData(labels=kinds, bboxes=cxcywh_to_xyxy(boxes) * side)
        labels.append({"class_labels": kinds, "boxes": boxes})
        samples.append(sample)
    return {
        "transformers": Candidate(peer, lambda: peer(images).pred_boxes, lambda: peer(images, labels=labels).loss),
        "vislab": Candidate(
            ours,
            lambda: ours(images, samples)["boxes"],
            lambda: sum(ours(images, samples, mode="loss").values()),
        ),
    }


def tract(device: torch.device, batch: int, small: bool) -> Candidates:
    """First layer of a ResNet (7x7, stride 2, 224x224) with TrAct; what is compared is the gradient of its weight."""
    _need("torch_tract")
    from torch_tract import TrAct

    from vislab.systems.tract import apply_tract

    torch.manual_seed(0)
    layer = nn.Conv2d(3, 64, 7, 2, 3)
    ours = nn.Conv2d(3, 64, 7, 2, 3)
    ours.load_state_dict(layer.state_dict())
    peer = TrAct(layer, l=0.1).to(device)
    ours = apply_tract(ours.to(device), 0.1)
    side = 32 if small else 224
    x = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)

    def candidate(model: nn.Module, weight: Tensor) -> Candidate:
        def loss() -> Tensor:
            return model(x).float().square().mean()

        def output() -> Tensor:
            weight.grad = None
            with torch.inference_mode(False), torch.enable_grad():
                loss().backward()
            return weight.grad

        return Candidate(model, output, loss)

    return {"torch_tract": candidate(peer, peer.weight), "vislab": candidate(ours, ours.weight)}


def hnerv(device: torch.device, batch: int, small: bool) -> Candidates:
    """HNeRV of 1.5M parameters at 640x1280, against the original repository where HNERV_REPO names a checkout."""
    import hnerv_step

    from vislab.systems.hnerv import STRIDES, HNeRV

    (height, width), channels = ((160, 320), 34) if small else hnerv_step.SIZES["640x1280 1.5M"]
    strides = STRIDES[height, width]
    torch.manual_seed(0)
    ours = HNeRV(strides=strides, decoder_width=channels)
    frames = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)

    def candidate(model: nn.Module, run: Callable[[], Tensor]) -> Candidate:
        return Candidate(model.to(device), run, lambda: nn.functional.mse_loss(run().float(), frames))

    candidates = {}
    if folder := os.environ.get("HNERV_REPO"):
        peer = hnerv_step.build_peer(hnerv_step.import_peer(folder), strides, channels)
        hnerv_step.widen(peer)
        hnerv_step.copy_weights(ours, peer)
        candidates["original"] = candidate(peer, lambda: peer(frames)[0])
    return candidates | {"vislab": candidate(ours, lambda: ours(frames)["image"])}


def own(name: str, side: tuple[int, int]) -> Callable[..., Candidates]:
    """Return a case of a config alone, whose published code is not available as a package."""

    def case(device: torch.device, batch: int, small: bool) -> Candidates:
        from tests.helpers.pretended_step import batch as raw_batch
        from tests.helpers.pretended_step import build

        torch.manual_seed(0)
        model, _ = build(REPOSITORY / f"configs/{name}.py", small=small, device="cpu")
        model = model.to(device)
        data = model.data_preprocessor(raw_batch(model, None if small else side, [8] * batch), True)

        def loss() -> Tensor:
            return model.parse_losses(model(**data, mode="loss"))[0]

        return {"vislab": Candidate(model, loss, loss)}

    return case


def _need(package: str) -> None:
    try:
        __import__(package)
    except ImportError:
        raise Missing(f"the package {package}: pip install -e '.[peers]'") from None


CASES: dict[str, Callable[[torch.device, int, bool], Candidates]] = {
    "deformable attention": attention,
    "mask2former": mask2former,
    "deformable_detr": deformable_detr,
    "tract layer": tract,
    "hnerv": hnerv,
    "timesnet": own("timesnet/timesnet_convnextv2_t_convnextv2_t_nyu", (480, 640)),
    "cae": own("cae/cae_vit_b_imagenet_1600ep", (224, 224)),
    "eco_m2f": own("eco_m2f/eco_m2f_swin_t_coco_panoptic", (512, 512)),
    "mutdet": own("mutdet/mutdet_pretrain_r50_dota", (800, 800)),
    "tract resnet50": own("tract/imagenet_resnet50_30ep_plain", (224, 224)),
}
