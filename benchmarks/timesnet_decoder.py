"""Effect of pre-training the decoder: timesNet with a pre-trained or random decoder, three mixes, and an FPN.

    python benchmarks/timesnet_decoder.py             # about an hour on two idle cores; can be interrupted
    python benchmarks/timesnet_decoder.py --quick     # under two minutes: a few steps, one seed, no conclusion

The encoder is EfficientNet-Lite0 with ImageNet weights. The learning rates of each row and dataset are selected from
the same grid with the same number of short runs, on images held out of the training set and with a seed that is not
reported. Each row is then trained with its rates and three other seeds, and evaluated on the test images. All rows use
the same batches per seed and the same number of steps. Pre-trained layers use half the learning rate; a random decoder
uses the full rate.

Needs VISLAB_DATA with rgbd_kitchen, camvid and weights/. Completed runs are stored in work_dirs/timesnet_decoder/;
curves and images are written to docs/.
"""

import json
import multiprocessing
import os
import statistics
from pathlib import Path

import _common
import _timesnet_report as report
from _timesnet_runs import BATCH, SIZE, TASKS, VARIANTS, WORK_DIR, train_once

ROOT = Path(__file__).resolve().parents[1]
# learning rate of new layers, and the factor for the layers after the pre-trained networks
GRID = [(lr, output_mult) for lr in (3e-4, 1e-3, 3e-3, 1e-2) for output_mult in (1.0, 5.0)]
STAGES = {
    "full": {
        "tuning": {"steps": 50, "every": 50, "images": None, "seeds": (100,), "grid": GRID},
        "report": {"steps": 150, "every": 50, "images": None, "seeds": (0, 1, 2)},
    },
    "quick": {
        "tuning": {"steps": 1, "every": 1, "images": 2, "seeds": (100,), "grid": GRID[2:4]},
        "report": {"steps": 2, "every": 2, "images": 2, "seeds": (0,)},
    },
}


def tuning_jobs(stage: dict) -> list[dict]:
    """Return jobs for all rows and all pairs of rates in the grid."""
    rates = [(task, variant, *pair) for pair in stage["grid"] for task in TASKS for variant in VARIANTS]
    return [_job("tuning", stage, *choice, seed) for seed in stage["seeds"] for choice in rates]


def report_jobs(stage: dict, tuning: list[dict]) -> list[dict]:
    """Return jobs for all rows with their selected rates, ordered by seed."""
    rates = [(task, variant, *report.choose_rates(tuning, task, variant)) for task in TASKS for variant in VARIANTS]
    return [_job("report", stage, *choice, seed) for seed in stage["seeds"] for choice in rates]


def _job(split: str, stage: dict, task: str, variant: str, lr: float, output_mult: float, seed: int) -> dict:
    settings = {key: stage[key] for key in ("steps", "every", "images")}
    pictures = split == "report" and seed == 0
    row = {"split": split, "task": task, "variant": variant, "lr": lr, "output_mult": output_mult, "seed": seed}
    return {**row, **settings, "pictures": pictures}


def run_all(jobs: list[dict], store: Path, workers: int) -> list[dict]:
    """Return the runs of all jobs; only those that are not in `store` yet are run, and added to it."""
    runs = json.loads(store.read_text()) if store.exists() else []
    stored = lambda job: next((r for r in runs if job.items() <= r.items()), None)
    missing = [job for job in jobs if stored(job) is None]
    print(f"{store.name}: {len(jobs) - len(missing)} runs stored, {len(missing)} to go", flush=True)
    if not missing:
        return [stored(job) for job in jobs]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for run in pool.imap_unordered(train_once, missing):
            runs.append(run)
            store.parent.mkdir(parents=True, exist_ok=True)
            store.with_suffix(".tmp").write_text(json.dumps(runs))
            store.with_suffix(".tmp").replace(store)
            last = " ".join(f"{k}={v:.4g}" for k, v in run["history"][-1].items())
            rates = f"lr {run['lr']:g} x {run['output_mult']:g}"
            name = f"{run['task']}, {run['variant']}, {rates}, seed {run['seed']}"
            print(f"{name}: {last} ({run['seconds']:.0f} s)", flush=True)
    return [stored(job) for job in jobs]


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs with one thread each (default 2)")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with rgbd_kitchen, camvid and weights")
    form = "quick" if args.quick else "full"
    stages = STAGES[form]
    stores = {name: WORK_DIR / f"{name}_{form}.json" for name in stages}
    if args.quick:  # a smoke test, which does not reuse stored runs
        for store in stores.values():
            store.unlink(missing_ok=True)
    tuning = run_all(tuning_jobs(stages["tuning"]), stores["tuning"], args.jobs)
    runs = run_all(report_jobs(stages["report"], tuning), stores["report"], args.jobs)

    blocks = [_common.format_table(report.tuning_table(tuning, task, stages["tuning"]["grid"])) for task in TASKS]
    blocks += [_common.format_table(report.result_table(runs)), _common.format_table(report.difference_table(runs))]
    steps, seeds = stages["report"]["steps"], len(stages["report"]["seeds"])
    note = (
        f"{steps} steps of {BATCH} images {SIZE[0]}x{SIZE[1]}, {seeds} seeds; rates of each row chosen in "
        f"{stages['tuning']['steps']} steps on held-out training images, another seed"
    )
    text = "\n\n".join([note, *blocks])
    print(text, flush=True)
    pictures = WORK_DIR if args.quick else ROOT / "docs"
    report.draw_curves(runs, pictures / "timesnet_decoder.png")
    for task in TASKS:
        report.draw_sheet(task, pictures / f"timesnet_decoder_{task}.jpg")
    if not args.no_record:
        _common.record(text, args.quick)
    ends = {}
    for task, short_task in (("kitchen", "absrel"), ("camvid", "miou")):
        for variant, short in (("pre-trained x multiply", "pre"), ("random x multiply", "random"), ("FPN", "fpn")):
            last = [r["history"][-1][TASKS[task][0]] for r in runs if (r["task"], r["variant"]) == (task, variant)]
            ends[f"{short_task}_{short}"] = statistics.mean(last)
    _common.result(**ends)


if __name__ == "__main__":
    main()
