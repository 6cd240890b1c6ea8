"""Time and memory of Deformable DETR (ResNet-50, 300 queries, 91 classes) compared to transformers, on the CPU.

    python benchmarks/deformable_speed.py [--quick] [--sizes 512] [--threads 1] [--variants plain two_stage]

Both use the same weights, images and objects, without dropout; the parity check compares boxes and the total loss. A
training step is forward, all losses with matching, and backward, without the optimizer; stem and first stage of the
ResNet are frozen in both. Memory is measured in two ways:

- saved: tensors that autograd keeps for backward, without parameters, each storage counted once.
- tensors: peak memory of a process that runs a training step, minus the peak of one that only builds model and input,
  with a fixed mmap threshold of glibc.

transformers computes no losses for the proposals of two-stage models, which vislab does in the training step.

Target: at most 0.67 of the time and 0.7 of the tensors of transformers.
"""

import os
import sys
from pathlib import Path

import _common

REPOSITORY = Path(__file__).resolve().parents[1]
OBJECTS = 8


def load_builder():
    sys.path.insert(0, str(REPOSITORY))
    from tests.helpers import deformable_detr_peer

    return deformable_detr_peer


def problem(builder, size: int):
    """Return an image, its labels for transformers, and its samples for vislab."""
    import torch
    from mmengine.structures import InstanceData

    from vislab.structures import DataSample
    from vislab.structures.boxes import cxcywh_to_xyxy

    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    ((labels, boxes),) = builder.random_objects((OBJECTS,), builder.R50["classes"])
    sample = DataSample(metainfo={"img_shape": (size, size), "ori_shape": (size, size)})
    sample.gt_instances = InstanceData(labels=labels, bboxes=cxcywh_to_xyxy(boxes) * size)
    return images, [{"class_labels": labels, "boxes": boxes}], [sample]


def peer_loss(peer, images, labels):
    return peer(images, labels=labels).loss


def our_loss(ours, images, samples):
    return sum(ours(images, samples, mode="loss").values())


def step(model, loss, *data) -> None:
    model.zero_grad(set_to_none=True)
    loss(model, *data).backward()


def parity(peer, ours, images, labels, samples) -> tuple[float, float]:
    """Return the maximum difference of boxes, and the relative difference of the total loss.

    The class loss of vislab has the official weight of 2, and its proposals have losses.
    """
    import torch

    with torch.no_grad():
        theirs, found = peer(images, labels=labels), ours(images, samples)
        losses = ours(images, samples, mode="loss")
    total = sum(v / (2 if "cls" in k else 1) for k, v in losses.items() if not k.startswith("enc."))
    difference = (theirs.pred_boxes - found["boxes"]).abs().max().item()
    return difference, abs(theirs.loss.item() - total.item()) / theirs.loss.item()


def saved_mib(model, loss, *data) -> float:
    """Return the size in MiB of the storages that are kept for backward."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    sizes = {}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss(model, *data)
    return sum(sizes.values()) / 2**20


def child(side: str, variant: str, size: int, threads: int, work: str) -> None:
    """Build model and input of one implementation, and run a training step if `work` is "step"."""
    import torch

    torch.set_num_threads(threads)
    builder = load_builder()
    images, labels, samples = problem(builder, size)
    build = builder.build_peer if side == "peer" else builder.build_ours
    model = build(builder.R50, variant).train()
    if work == "step":
        step(model, *((peer_loss, images, labels) if side == "peer" else (our_loss, images, samples)))


def peak_mib(side: str, variant: str, size: int, threads: int) -> float:
    """Return the peak memory in MiB of a training step; see the module docstring."""
    command = [sys.executable, __file__, "--sizes", str(size), "--threads", str(threads), "--variants", variant]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # glibc only
    whole, floor = (
        _common.peak_rss([*command, "--child", side, "--work", work], env=environment) for work in ("step", "build")
    )
    return whole - floor


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", help="pixels; default 512, with --quick 256")
    parser.add_argument("--variants", nargs="+", choices=("plain", "box_refine", "two_stage"))
    parser.add_argument("--child", choices=("ours", "peer"), help="internal: one side alone")
    parser.add_argument("--work", choices=("step", "build"), default="step", help="internal: what the child does")
    args = parser.parse_args()
    sizes = args.sizes or ([256] if args.quick else [512])
    variants = args.variants or (["plain"] if args.quick else ["plain", "two_stage"])
    if args.child:
        child(args.child, variants[0], sizes[0], args.threads, args.work)
        return
    try:
        import transformers  # noqa: F401
    except ImportError:
        _common.skip("transformers: pip install -e '.[peers]'")
    import torch

    torch.set_num_threads(args.threads)
    builder = load_builder()
    rows, values, lines = [], {}, []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    for variant, size in ((v, s) for v in variants for s in sizes):
        name = f"{variant}_{size}"
        peer, ours = builder.build_pair(builder.R50, variant)
        images, labels, samples = problem(builder, size)
        difference, loss_difference = parity(peer, ours, images, labels, samples)
        say(f"parity {name}: boxes {difference:.1e}, total loss {loss_difference:.1e} (relative)")
        if difference > 1e-4 or loss_difference > 1e-4:
            sys.exit("error: the two models differ, so their times are not comparable")

        def forward(model, images=images):
            with torch.inference_mode():
                model(images)

        steps = {"transformers": (peer, peer_loss, images, labels), "vislab": (ours, our_loss, images, samples)}
        runs = {
            "forward": {"transformers": lambda m=peer: forward(m), "vislab": lambda m=ours: forward(m)},
            "training": {key: lambda a=a: step(*a) for key, a in steps.items()},
        }
        pairs, warmup = (3, 1) if args.quick else (7, 2)
        for what, functions in runs.items():
            for model in (peer, ours):
                model.train(what == "training")
            times = _common.interleave(functions, pairs=pairs, warmup=warmup)
            for key in functions:
                rows.append(_common.timing_row(f"{what} {name} {key}", times[key], times["transformers"]))
            values[f"{what}_{name}"] = _common.ratio(times["vislab"]["cpu"], times["transformers"]["cpu"])
        found = {"saved": [saved_mib(*steps[key]) for key in ("transformers", "vislab")]}
        if not args.quick:
            found["tensors"] = [peak_mib(side, variant, size, args.threads) for side in ("peer", "ours")]
        for what, (theirs, mine) in found.items():
            values[f"{what}_{name}"] = mine / theirs
            say(f"{what} {name}: transformers {theirs:.0f} MiB, vislab {mine:.0f} MiB ({mine / theirs:.2f})")
    table = _common.print_table(rows)
    if not args.no_record:
        text = "\n".join(f"- {line}" for line in lines)
        _common.record(f"{text}\n\n{table}", args.quick)
    _common.result(threads=args.threads, **values)


if __name__ == "__main__":
    main()
