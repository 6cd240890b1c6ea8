"""Time and memory of Mask2Former (Swin-T, 100 queries, 133 classes) compared to transformers, on the CPU.

    python benchmarks/mask2former_speed.py [--quick] [--sizes 384 512] [--threads 1]

Both use the same weights and images; the parity check compares outputs, and all losses at the same points. A training
step is forward, all 30 losses with matching, and backward, without the optimizer. Also measured are forward and
backward of deformable attention, and the peak memory of a training step in separate processes:

- whole: of the whole process, including 0.95 GiB of libraries and weights.
- step: minus the peak of a process that only builds model and input.
- tensors: the same with a fixed mmap threshold of glibc, so without heap fragmentation, which varies by 5% between
  runs.

Target: at most 0.67 of the time and 0.6 of the peak memory of transformers in training.
"""

import os
import sys
from pathlib import Path

import _common

REPOSITORY = Path(__file__).resolve().parents[1]
TARGETS = 8


def load_builder():
    sys.path.insert(0, str(REPOSITORY))
    from tests.helpers import mask2former_peer

    return mask2former_peer


def problem(builder, size: int, batch: int = 1):
    import torch

    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels, masks = builder.random_labels(size, size, builder.SWIN_T["classes"], counts=[TARGETS] * batch)
    return images, labels, masks


def peer_step(peer, images, labels, masks) -> None:
    peer.zero_grad(set_to_none=True)
    peer(images, mask_labels=[m.float() for m in masks], class_labels=labels).loss.backward()


def our_step(ours, images, labels, masks) -> None:
    from vislab.models.mask2former import Target

    ours.zero_grad(set_to_none=True)
    maps = ours.backbone(images)
    state = ours.pixel_decoder.encode(ours.pixel_decoder.project(maps))
    targets = [Target(a, b) for a, b in zip(labels, masks, strict=True)]
    sum(ours.loss(maps[0], state, targets).values()).backward()


def parity(peer, ours, images, labels, masks) -> tuple[float, float]:
    """Return the maximum difference of mask logits, and the relative difference of the total loss."""
    import torch

    from vislab.models.mask2former import Target

    points = torch.rand(1, 3 * 12544, 2, generator=torch.Generator().manual_seed(1))
    real = torch.rand
    torch.rand = lambda *shape, **_: points[:, : shape[1]].expand(shape).clone()
    try:
        with torch.no_grad():
            theirs = peer(images, mask_labels=[m.float() for m in masks], class_labels=labels)
            maps = ours.backbone(images)
            state = ours.pixel_decoder.encode(ours.pixel_decoder.project(maps))
            targets = [Target(a, b) for a, b in zip(labels, masks, strict=True)]
            total = sum(ours.loss(maps[0], state, targets).values())
            outputs = ours.outputs(maps[0], state)
    finally:
        torch.rand = real
    difference = (theirs.masks_queries_logits - outputs["mask_logits"]).abs().max().item()
    return difference, abs(theirs.loss.item() - total.item()) / theirs.loss.item()


def core(size: int):
    """Return functions that run forward and backward of deformable attention, of vislab and of transformers."""
    import torch
    from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

    from vislab.layers.position import pixel_centers
    from vislab.ops.ms_deform_attn import ms_deform_attn

    torch.manual_seed(0)
    shapes = tuple((size // s, size // s) for s in (32, 16, 8))
    count = sum(h * w for h, w in shapes)
    value = torch.randn(1, count, 8, 32, requires_grad=True)
    scale = torch.tensor([(w, h) for h, w in shapes])[:, None]
    centers = pixel_centers(shapes)[None, :, None, None, None]
    locations = (centers + 3 * torch.randn(1, count, 8, 3, 4, 2) / scale).requires_grad_()
    weights = torch.randn(1, count, 8, 12).softmax(-1).view(1, count, 8, 3, 4).requires_grad_()
    grad = torch.randn(1, count, 256)

    def run(function):
        def step():
            torch.autograd.grad(function(value, shapes, locations, weights), (value, locations, weights), grad)

        return step

    return {"transformers": run(multi_scale_deformable_attention), "vislab": run(ms_deform_attn)}


def child(side: str, size: int, threads: int, work: str) -> None:
    """Build model and input of one implementation, and run a training step if `work` is "step"."""
    import torch

    torch.set_num_threads(threads)
    builder = load_builder()
    images, labels, masks = problem(builder, size)
    model = builder.build_peer(builder.SWIN_T) if side == "peer" else builder.build_ours(builder.SWIN_T)
    if work == "step":
        (peer_step if side == "peer" else our_step)(model, images, labels, masks)


def memory(side: str, size: int, threads: int) -> dict[str, float]:
    """Return the peak memory in MiB of a training step; see the module docstring."""
    command = [sys.executable, __file__, "--sizes", str(size), "--threads", str(threads), "--child", side]
    returning = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # glibc only
    whole, floor = (_common.peak_rss([*command, "--work", work]) for work in ("step", "build"))
    tight, tight_floor = (_common.peak_rss([*command, "--work", work], env=returning) for work in ("step", "build"))
    return {"whole": whole, "step": whole - floor, "tensors": tight - tight_floor}


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", help="pixels; default 384 512, with --quick 256")
    parser.add_argument("--child", choices=("ours", "peer"), help="internal: one side alone")
    parser.add_argument("--work", choices=("step", "build"), default="step", help="internal: what the child does")
    args = parser.parse_args()
    sizes = args.sizes or ([256] if args.quick else [384, 512])
    if args.child:
        child(args.child, sizes[0], args.threads, args.work)
        return
    try:
        import transformers  # noqa: F401
    except ImportError:
        _common.skip("transformers: pip install -e '.[peers]'")
    import torch

    torch.set_num_threads(args.threads)
    builder = load_builder()
    peer, ours = builder.build_pair(builder.SWIN_T)
    peer.eval(), ours.eval()
    rows, values, lines = [], {}, []
    for size in sizes:
        images, labels, masks = problem(builder, size)
        difference, loss_difference = parity(peer, ours, images, labels, masks)
        line = f"parity {size}: mask logits {difference:.1e}, total loss {loss_difference:.1e} (relative)"
        lines.append(line)
        print(line, flush=True)
        if loss_difference > 1e-4:
            sys.exit("error: the two models differ, so their times are not comparable")

        def forward(model, images=images):
            with torch.inference_mode():
                model(images)

        pairs, warmup = (3, 1) if args.quick else (7, 2)
        runs = {
            "forward": {"transformers": lambda: forward(peer), "vislab": lambda: forward(ours)},
            "training": {
                "transformers": lambda i=images, a=labels, b=masks: peer_step(peer, i, a, b),
                "vislab": lambda i=images, a=labels, b=masks: our_step(ours, i, a, b),
            },
            "attention": core(size),
        }
        for what, functions in runs.items():
            times = _common.interleave(functions, pairs=pairs, warmup=warmup)
            for name in functions:
                rows.append(_common.timing_row(f"{what} {size} {name}", times[name], times["transformers"]))
            values[f"{what}_{size}"] = _common.ratio(times["vislab"]["cpu"], times["transformers"]["cpu"])
        theirs, mine = (memory(side, size, args.threads) for side in ("peer", "ours"))
        for what in mine:
            values[f"memory_{what}_{size}"] = mine[what] / theirs[what]
            lines.append(
                f"peak memory of a training step at {size}, {what}: transformers {theirs[what]:.0f} MiB, vislab "
                f"{mine[what]:.0f} MiB ({mine[what] / theirs[what]:.2f})"
            )
            print(lines[-1], flush=True)
    table = _common.print_table(rows)
    if not args.no_record:
        text = "\n".join(f"- {line}" for line in lines)
        _common.record(f"{text}\n\n{table}", args.quick)
    _common.result(threads=args.threads, **values)


if __name__ == "__main__":
    main()
