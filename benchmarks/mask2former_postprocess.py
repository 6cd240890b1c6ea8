"""Memory and time of Mask2Former postprocessing, from 100 masks at stride 4 to predictions of 1333x800 pixels.

    python benchmarks/mask2former_postprocess.py [--quick]

"whole" is the official implementation: all masks are resized to the size of the input and then of the image as one "
"float
tensor. "strips" is that of vislab, which resizes strips of rows. The results are identical. Peak memory is that of a
process with one of the three tasks, minus that of a process which only creates the logits.
"""

import sys

import _common

IMAGE, PADDED = (800, 1333), (800, 1344)
TASKS = ("panoptic", "semantic", "instance")


def logits(quick: bool):
    """Return class logits (Q, 134) and masks (Q, 200, 336) of smooth blobs, most with a confident class."""
    import torch

    queries = 20 if quick else 100
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(queries, 134, generator=generator)
    classes[torch.arange(queries), torch.randint(0, 133, (queries,), generator=generator)] += 10
    coarse = torch.randn(queries, 6, 10, generator=generator) * 4
    masks = torch.nn.functional.interpolate(coarse[None], size=(PADDED[0] // 4, PADDED[1] // 4), mode="bicubic")[0]
    return classes, masks


def whole(task: str, classes, masks):
    """Official postprocessing, with all masks at full size."""
    from torch.nn.functional import interpolate

    big = interpolate(masks[None], size=PADDED, mode="bilinear", align_corners=False)[0, :, : IMAGE[0], : IMAGE[1]]
    if task == "panoptic":
        scores, labels = classes.softmax(-1).max(-1)
        keep = (labels != classes.shape[1] - 1) & (scores > 0.8)
        probability = big[keep].sigmoid()
        best = (scores[keep][:, None, None] * probability).argmax(0)
        return best.where(probability.gather(0, best[None])[0] >= 0.5, -1)
    if task == "semantic":
        weights = classes.softmax(-1)[:, :-1]
        return (weights.T @ big.sigmoid().flatten(1)).argmax(0).view(IMAGE)
    inside = big > 0
    return (big.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)


def strips(task: str, classes, masks):
    import torch

    from vislab.models.mask2former import inference

    frames, things = inference.Frames(PADDED, IMAGE, IMAGE), torch.ones(133, dtype=torch.bool)
    if task == "panoptic":
        return inference.panoptic(classes, masks, frames, things, overlap_threshold=0.0)
    if task == "semantic":
        return inference.semantic(classes, masks, frames)
    return inference.instances(classes, masks, frames, things, rle_masks=True)


def parity(classes, masks) -> float:
    """Return the fraction of pixels whose class or segment differs, which may only be caused by rounding."""
    ids, segments = strips("panoptic", classes, masks)
    best = whole("panoptic", classes, masks)
    differs = ((ids == 0) != (best < 0)).float().mean().item()
    labels = (strips("semantic", classes, masks) != whole("semantic", classes, masks)).float().mean().item()
    return max(differs, labels)


def peak(kind: str, task: str, quick: bool) -> float:
    command = [sys.executable, __file__, *(["--quick"] if quick else []), "--child"]
    return _common.peak_rss([*command, kind, task])


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "TASK"), help="internal: one of them alone")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    classes, masks = logits(args.quick)
    kinds = {"whole": whole, "strips": strips}
    if args.child:
        kind, task = args.child
        from vislab.models.mask2former import inference  # noqa: F401  loaded on both sides

        if kind in kinds:
            kinds[kind](task, classes, masks)
        return
    difference = parity(classes, masks)
    line = f"parity: {difference:.1e} of the pixels differ"
    print(line, flush=True)
    if difference > 1e-4:
        sys.exit("error: the two disagree")
    rows, values = [], {}
    floor = peak("none", TASKS[0], args.quick)
    for task in TASKS:
        calls = {kind: lambda call=call, task=task: call(task, classes, masks) for kind, call in kinds.items()}
        times = _common.interleave(calls, pairs=3 if args.quick else 7, warmup=1)
        memory = {kind: peak(kind, task, args.quick) - floor for kind in kinds}
        for kind in kinds:
            row = _common.timing_row(f"{task}: {kind}", times[kind], times["whole"])
            rows.append({**row, "peak MiB": f"{memory[kind]:.0f}"})
        values[f"memory_{task}"] = memory["strips"] / memory["whole"]
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"{line}; {len(masks)} queries\n\n{table}", args.quick)
    _common.result(**values)


if __name__ == "__main__":
    main()
