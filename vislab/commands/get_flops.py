"""Count the parameters and multiply-adds of a model and its modules, for one image.

    vislab get-flops CONFIG --shape 512 512 --depth 2

Counts convolutions, matrix products and attention with torch.utils.flop_counter in a forward pass (mode="tensor"); one
multiply-add (MAC) is two FLOPs. Norms, activations, resizing and sampling are not counted. Without --shape the image is
the first one of the test set.
"""

import argparse
import json

from vislab.cli import add_cfg_options, at_least, explained_shape, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--shape", type=at_least(1), nargs="+", metavar="N", help="height and width, or one side of a square"
    )
    parser.add_argument(
        "--depth", type=at_least(0), metavar="N", default=2, help="levels of modules in the table (default 2)"
    )
    parser.add_argument("--mode", choices=["tensor", "predict"], default="tensor", help="predict: with post-processing")
    parser.add_argument("--out", metavar="F", help="also write the results to this .json file")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vislab.apis.build import build_model, load
    from vislab.apis.sampling import one_batch
    from vislab.io.atomic import write_text_atomically
    from vislab.io.paths import usable_file

    out = args.out and usable_file(args.out)
    cfg = load(args.config, parse_cfg_options(args.cfg_options))
    model = build_model(cfg, device="cpu", initial=False)
    batch = one_batch(cfg, model, shape=args.shape)
    counter = FlopCounterMode(display=False, depth=None)
    with torch.no_grad(), counter, explained_shape(args.shape):
        model(**batch, mode=args.mode)
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    own = {n: sum(p.numel() for p in m.parameters()) for n, m in model.named_modules()}
    learned = {n: sum(p.numel() for p in m.parameters() if p.requires_grad) for n, m in model.named_modules()}

    root = type(model).__name__
    rows = []
    for name, module in model.named_modules():
        level = name.count(".") + 1 if name else 0
        macs = _macs(f"{root}.{name}" if name else root, module, flops)
        if level <= args.depth and (own[name] or macs):
            rows.append({"part": name or root, "kind": type(module).__name__, "level": level,
                         "parameters": own[name], "learned": learned[name], "macs": macs})  # fmt: skip
    total = max(rows[0]["macs"], 1)
    height, width = batch["inputs"].shape[-2:]
    print(f"{root}, one image {height}x{width} (after the data preprocessor), mode={args.mode}")
    width = max(2 * r["level"] + len(r["part"].split(".")[-1]) for r in rows)
    for r in rows:
        label = "  " * r["level"] + r["part"].split(".")[-1]
        counts = f"{_unit(r['parameters']):>9}  {_unit(r['macs']):>9}MAC {r['macs'] / total:6.1%}"
        print(f"{label:<{width}}  {counts}  {r['kind']}")
    print(f"parameters {rows[0]['parameters']:,} ({rows[0]['learned']:,} learned), {_unit(rows[0]['macs'])}MAC")
    if out:
        facts = {"shape": [int(height), int(batch["inputs"].shape[-1])], "parts": rows}
        write_text_atomically(json.dumps(facts, indent=1), out)


def _macs(path: str, module, flops: dict[str, int]) -> int:
    """Return the multiply-adds of a module; module lists, which are not called, are summed over their members."""
    if path in flops:
        return flops[path] // 2
    return sum(_macs(f"{path}.{name}", child, flops) for name, child in module.named_children())


def _unit(value: float) -> str:
    for unit in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.4g} {unit}"
        value /= 1000
    return f"{value:.4g} T"
