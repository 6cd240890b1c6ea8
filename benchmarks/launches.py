"""Launches, copies, waits and memory of a training step of each system on a GPU, counted without one.

    python benchmarks/launches.py [--quick] [--configs NAME ...] [--places N]

Models of published configs take one step (data preprocessor, forward, losses, backward, clipping, optimizer) with
tensors without content that claim to be on a GPU. Columns:

- forward, backward, optimizer: operators that reach the device; see benchmarks/_launches.py. Clipping is with the
  optimizer.
- an image more: what one more image adds to them, so loops over images show.
- copies, waits: copies between host and device, and operations for which the host waits.
- allocated, kept: MiB of all new tensors, and of those kept for backward.

Deformable attention counts as on a GPU on which its Triton kernel agrees with the reference, other attention as
torch's memory-efficient kernel. Configs with mixed precision (`AmpOptimWrapper`) run in bfloat16. `--places N` lists
the N places with the most launches.

A second table has the memory of one encoder layer with the kernel and with `grid_sample`: kept for backward, and the
most in use, where nothing is released during backward.
"""

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import _common

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEMS = {  # config, height and width, and the labels that its pipeline makes
    "timesnet/timesnet_convnextv2_t_convnextv2_t_nyu": ((480, 640), ["gt_depth"]),
    "cae/cae_vit_b_imagenet_800ep": ((224, 224), ["patch_mask", "target_img"]),
    "eco_m2f/eco_m2f_swin_t_coco_panoptic": ((1024, 1024), ["labels", "masks"]),
    "mutdet/mutdet_pretrain_r50_dota": ((800, 800), ["labels", "rbboxes", "embeddings"]),
    "mutdet/rotated_detr_r50_dota": ((800, 800), ["labels", "rbboxes", "ignore"]),
    "tract/imagenet_resnet50_30ep_tract": ((224, 224), ["gt_label"]),
    "hnerv/hnerv_bunny_640x1280_1500k": ((640, 1280), []),
}
IMAGES = 4


class Step(NamedTuple):
    """Counts of a step: launches per phase, copies, waits, bytes allocated and kept for backward, and places."""

    launches: Counter
    copies: int
    waits: Counter
    allocated: int
    kept: int
    places: Counter


def count(name: str, images: int, small: bool = False) -> Step:
    """Count the second training step of a config of SYSTEMS; the first one makes the state of the optimizer."""
    sys.path.insert(0, str(REPOSITORY))
    from _launches import Launches, attention_kernel
    from mmengine.optim import build_optim_wrapper
    from torch.nn import functional

    from tests.helpers.pretended_backward import walked_backward
    from tests.helpers.pretended_gpu import pretended_gpu, to_pretended_gpu
    from tests.helpers.pretended_step import batch, build
    from vislab.engine.message_hub import MessageHub
    from vislab.engine.optim.amp import AmpOptimWrapper
    from vislab.ops import ms_deform_attn
    from vislab.systems.tract import apply_tract

    model, settings = build(REPOSITORY / f"configs/{name}.py", small=small)
    if settings["type"] is AmpOptimWrapper:
        settings = settings | {"dtype": "bfloat16"}  # float16 asks for a real GPU
    counter = Launches()
    with ExitStack() as stack:
        waits = stack.enter_context(pretended_gpu())
        stack.enter_context(patch.object(ms_deform_attn, "kernel_agrees", lambda device, dtype: True))
        stack.enter_context(patch.object(functional, "scaled_dot_product_attention", attention_kernel))
        stack.enter_context(walked_backward(lambda node: setattr(counter, "node", node)))
        to_pretended_gpu(model).train()
        if "tract" in name:
            apply_tract(model.network)
        wrapper = build_optim_wrapper(model, settings)
        wrapper.message_hub = MessageHub("pretended")
        kept, backward = [], wrapper.backward

        def noted_backward(loss: Any, **kwargs: Any) -> None:
            counter.phase = "backward"
            kept.append(counter.held)
            backward(loss, **kwargs)
            counter.phase = "optimizer"

        wrapper.backward = noted_backward
        size, labels = SYSTEMS[name]
        first, second = (batch(model, None if small else size, [3 + i % 3 for i in range(images)]) for _ in range(2))
        for data in (first, second):
            _keep(data["data_samples"], labels)
        model.train_step(first, wrapper)
        waits.clear()
        counter.phase = "forward"
        with counter:
            model.train_step(second, wrapper)
    return Step(counter.launches, counter.copies, Counter(waits), counter.allocated, kept[1], counter.places)


def encoder_layer(side: int, kernel: bool, dtype: str = "float32") -> tuple[float, float]:
    """Return MiB kept for backward, and the most in use, by a deformable encoder layer of one image (side x side).

    Three levels of strides 8, 16, 32; 8 heads, 4 points, 256 channels. Its input is not counted.
    """
    sys.path.insert(0, str(REPOSITORY))
    import torch
    from _launches import Launches

    from tests.helpers.pretended_backward import walked_backward
    from tests.helpers.pretended_gpu import CUDA, pretended_gpu, to_pretended_gpu
    from vislab.layers.deformable_attention import DeformableEncoderLayer
    from vislab.layers.position import pixel_centers
    from vislab.ops import ms_deform_attn

    shapes = tuple((side // stride, side // stride) for stride in (32, 16, 8))
    layer = DeformableEncoderLayer(dim=256, num_heads=8, num_levels=3, num_points=4, ffn_dim=1024)
    counter = Launches()
    agrees = patch.object(ms_deform_attn, "kernel_agrees", lambda device, dtype: kernel)
    with pretended_gpu(), walked_backward(), agrees, torch.autocast("cuda", getattr(torch, dtype), dtype != "float32"):
        to_pretended_gpu(layer)
        centers = pixel_centers(shapes, device=CUDA)
        tokens = torch.zeros(1, len(centers), 256, device=CUDA, requires_grad=True)
        position = torch.zeros(len(centers), 256, device=CUDA)
        with counter:
            out = layer(tokens, position, centers, shapes)
            kept = counter.held
            out.sum().backward()
    return kept / 2**20, counter.most / 2**20


def _keep(samples: list, labels: list[str]) -> None:
    """Remove all other labels."""
    for sample in samples:
        for owner in (sample.gt_instances, sample):
            for key in set(owner.keys()) - {*labels, "gt_instances"}:
                delattr(owner, key)
        if not sample.gt_instances.keys():
            del sample.gt_instances


def table_row(name: str, step: Step, more: Step) -> dict[str, object]:
    """Return a table row for a config, from counts with IMAGES images and with one more."""
    phases = ("forward", "backward", "optimizer")
    return {
        "config": name,
        **{phase: step.launches[phase] for phase in phases},
        "an image more": more.launches.total() - step.launches.total(),
        "copies": step.copies,
        "waits": step.waits.total(),
        "allocated": f"{step.allocated / 2**20:.0f}",
        "kept": f"{step.kept / 2**20:.0f}",
    }


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--configs", nargs="+", choices=list(SYSTEMS), help="default: one or two of each system")
    parser.add_argument("--places", type=int, default=0, help="also list the places with the most launches")
    args = parser.parse_args()
    rows, values = [], {}
    for name in args.configs or SYSTEMS:
        step, more = (count(name, IMAGES + extra, small=args.quick) for extra in (0, 1))
        rows.append(table_row(name, step, more))
        values[name.split("/")[1]] = step.launches.total()
        for place, launches in by_place(step).most_common(args.places):
            print(f"{launches:6d}  {place}  {operators(step, place)}")
        for wait in step.waits:
            print(f"{name} waits: {wait.reason}, {wait.place}", flush=True)
    side = 256 if args.quick else 1024
    memory = [
        {"encoder layer": f"{side}x{side}, {dtype}", "form": form, "kept MiB": f"{kept:.0f}", "most MiB": f"{most:.0f}"}
        for dtype in ("float32", "bfloat16")
        for form, (kept, most) in (
            (form, encoder_layer(side, form == "kernel", dtype)) for form in ("grid_sample", "kernel")
        )
    ]
    table = _common.print_table(rows) + "\n\n" + _common.print_table(memory)
    if not args.no_record:
        _common.record(f"batch {IMAGES}\n\n{table}", args.quick)
    _common.result(**values)


def operators(step: Step, place: str) -> str:
    """Return the operators of a place with their numbers."""
    found = Counter({name: launches for (where, name), launches in step.places.items() if where == place})
    return ", ".join(f"{name} {launches}" for name, launches in found.most_common())


def by_place(step: Step) -> Counter:
    """Return the number of launches of each place."""
    total: Counter[str] = Counter()
    for (place, _), launches in step.places.items():
        total[place] += launches
    return total


if __name__ == "__main__":
    main()
