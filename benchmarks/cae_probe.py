"""Targets of masked pre-training at equal compute: accuracy of probes on CIFAR-10, with controls.

    python benchmarks/cae_probe.py                   # can be interrupted; seeds one after the other
    python benchmarks/cae_probe.py --images 120000   # longer
    python benchmarks/cae_probe.py --quick           # a few steps, one seed, no conclusion

All arms have the same encoder (a ViT of 4 blocks and width 128 on 8x8 patches), data and optimizer. The number of
images on which an arm is trained is that of CAE with normalized pixels times the ratio of the operations of a training
step; with more than the 20,000 of the set, several epochs of as many. Probes use 5,000 training and 5,000 test images;
their settings are selected on held-out training images. Random initialization uses the same seeds, so differences are
paired.

Needs VISLAB_DATA with cifar10_subset.zip and weights/. Completed runs are stored in work_dirs/cae_probe/.
"""

import json
import math
import multiprocessing
import os
import shutil
import statistics
from pathlib import Path

import _common
from _cae_runs import ARMS, BASE, WORK_DIR, folder_of, run_arm, step_flops

FORMS = {
    "full": {"images": 20000, "train": 5000, "test": 5000, "kinds": ["knn", "linear"], "probe_epochs": 10},
    "quick": {"images": 512, "train": 256, "test": 128, "kinds": ["knn", "linear", "efficient"], "probe_epochs": 2},
}
SEEDS = {"full": [0, 1, 2], "quick": [0]}
WHOLE = 20000  # images of the training set
COLUMNS = {  # heading: key of a run
    "linear, mean": "linear_mean",
    "linear, class": "linear_class",
    "k-NN, mean": "knn_mean_k20",
    "k-NN, class": "knn_class_k20",
    "efficient": "efficient",
    "effective rank": "effective_rank",
    "participation ratio": "latent_rank",
    "std of latents": "latent_std",
    "reconstruction": "reconstruction",
    "alignment": "alignment",
}


def measure_costs() -> dict[str, float]:
    """Return the operations of a training step for one image, by config; stored, since they do not change."""
    store = WORK_DIR / "costs.json"
    known = json.loads(store.read_text()) if store.exists() else {}
    for name, trained in ARMS.values():
        if trained and name not in known:
            known[name] = step_flops(name)
            write(store, known)
    return known


def length_of(name: str, costs: dict[str, float], images: int) -> tuple[int, int]:
    """Return epochs and images of an epoch of an arm that cost as much as CAE with normalized pixels on `images`."""
    total = images * costs[BASE] / costs[name]
    epochs = max(1, math.ceil(total / WHOLE - 0.01))
    return epochs, min(WHOLE, round(total / epochs))


def jobs_of(form: str, settings: dict, costs: dict[str, float], arms: list[str], seeds: list[int]) -> list[dict]:
    """Return the jobs of all arms and seeds, ordered by seed."""
    jobs = []
    for seed in seeds:
        for arm in arms:
            name, trained = ARMS[arm]
            epochs, images = length_of(name, costs, settings["images"]) if trained else (0, 0)
            if arm != "raw pixels" or seed == 0:
                folder = f"{form}_{settings['images']}"
                jobs.append({**settings, "arm": arm, "seed": seed, "epochs": epochs, "images": images, "form": folder})
    return jobs


def run_all(jobs: list[dict], workers: int) -> list[dict]:
    """Return the runs of all jobs; only those without a file of their own, of the same settings, are run."""
    missing = [job for job in jobs if stored(job) is None]
    print(f"{len(jobs) - len(missing)} runs stored, {len(missing)} to go", flush=True)
    if missing:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for run in pool.imap(run_arm, missing):
                write(file_of(run), run)
                values = " ".join(f"{key}={run[key]:.4g}" for key in COLUMNS.values() if key in run)
                print(f"{run['arm']}, seed {run['seed']}: {values} ({run['seconds']:.0f} s)", flush=True)
    return [stored(job) for job in jobs]


def file_of(job: dict) -> Path:
    """Return the file of a completed run."""
    return folder_of(job).with_suffix(".json")


def stored(job: dict) -> dict | None:
    """Return the completed run of a job; None if there is none with its settings."""
    run = json.loads(file_of(job).read_text()) if file_of(job).exists() else None
    return run if run is not None and job.items() <= run.items() else None


def write(path: Path, content: object) -> None:
    """Write JSON atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(content))
    path.with_suffix(".tmp").replace(path)


def summarize(runs: list[dict], costs: dict[str, float]) -> list[dict[str, object]]:
    """Return a row for each arm with mean and standard deviation over the seeds."""
    start = {r["seed"]: r["linear_mean"] for r in runs if r["arm"] == "random initialization"}
    rows = []
    for arm, (name, trained) in ARMS.items():
        mine = [r for r in runs if r["arm"] == arm]
        if not mine:
            continue
        row: dict[str, object] = {"arm": arm}
        gains = [r["linear_mean"] - start[r["seed"]] for r in mine if r["seed"] in start] if trained else []
        row["over random"] = text(gains, "+.2f")
        row |= {heading: text([r[key] for r in mine if key in r]) for heading, key in COLUMNS.items()}
        row["warned"] = f"{sum(r['warned'] for r in mine)} of {len(mine)}" if trained else ""
        row["MFLOP a step"] = f"{costs[name] / 1e6:.0f}" if trained else ""
        row["seeds"] = len(mine)
        row["images"] = f"{mine[0]['epochs'] * mine[0]['images'] / 1000:.1f}k" if trained else ""
        row["CPU s"] = f"{statistics.mean(r['cpu'] for r in mine):.0f}" if trained else ""
        rows.append(row)
    return rows


def text(values: list[float], form: str = ".2f") -> str:
    """Format mean and standard deviation; empty without values."""
    spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}" if values else ""


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs with one thread each (default 2)")
    parser.add_argument("--images", type=int, help="of the training of CAE with normalized pixels (default 20000)")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2")
    parser.add_argument("--stored", action="store_true", help="only print the table of the completed runs")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="default: all")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with cifar10_subset.zip and weights")
    form = "quick" if args.quick else "full"
    settings = FORMS[form] | ({} if args.images is None else {"images": args.images})
    seeds = args.seeds or SEEDS[form]
    arms = args.arms or ([*ARMS][:1] + [*ARMS][-2:] if args.quick else [*ARMS])
    costs = measure_costs()
    for name, flops in costs.items():
        epochs, images = length_of(name, costs, settings["images"])
        print(f"{name}: {flops / 1e6:.0f} MFLOP for a step of one image, {epochs} epochs of {images} images")
    jobs = jobs_of(form, settings, costs, arms, seeds)
    if args.quick:
        shutil.rmtree(WORK_DIR / jobs[0]["form"], ignore_errors=True)
    if args.stored:
        runs = [run for job in jobs if (run := stored(job)) is not None]
    else:
        runs = run_all(jobs, args.jobs)
    rows = summarize(runs, costs)
    table = _common.print_table(rows)
    if not args.no_record:
        head = f"CAE with normalized pixels on {settings['images']} images, others equal operations, seeds {seeds}"
        _common.record(f"{head}; accuracy in %, mean +- sd\n\n{table}", args.quick)
    mean = lambda arm, key: statistics.mean([r[key] for r in runs if r["arm"] == arm] or [float("nan")])
    ratio = mean("CAE without reconstruction", "effective_rank") / mean(next(iter(ARMS)), "effective_rank")
    _common.result(
        cae=mean(next(iter(ARMS)), "linear_mean"),
        random=mean("random initialization", "linear_mean"),
        pixels=mean("raw pixels", "linear_mean"),
        collapsed_rank_ratio=ratio,
        runs=len(runs),
    )


if __name__ == "__main__":
    main()
