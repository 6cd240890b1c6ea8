"""Pre-training without labels for dense prediction: a small ViT, random or pre-trained, in an FPN and in timesNet.

    python benchmarks/cae_dense.py             # can be interrupted
    python benchmarks/cae_dense.py --tasks camvid --networks FPN --seeds 0 1   # a part of it
    python benchmarks/cae_dense.py --quick     # a few steps, one seed, no conclusion

For each seed a ViT (6 blocks, width 128, patches of 8) is pre-trained by CAE with normalized pixels on crops of 70 COCO
photos, 90 CamVid images, 160 kitchen frames and 5,000 CIFAR-10 images, all of training sets and without labels. It is
then the encoder of an FPN, and of timesNet with EfficientNet-Lite0 as the decoder, on CamVid (mIoU) and the kitchen
(AbsRel). The random encoder has the weights from which the pre-training of the same seed started, and sees the same
batches. Learning rate and the factor for the encoder are selected for each row on held-out training images.

Needs VISLAB_DATA. Completed runs are stored in work_dirs/cae_dense/; curves are written to docs/cae_dense.png.
"""

import json
import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import _common
from _cae_dense_runs import NETWORKS, STARTS, WORK_DIR, pretrain, train_dense, weights_file
from _timesnet_runs import BATCH, LOWER_IS_BETTER, SIZE, TASKS

ROOT = Path(__file__).resolve().parents[1]
GRID = [(lr, share) for lr in (3e-4, 1e-3, 3e-3) for share in (0.25, 1.0)]
FORMS = {
    "full": {
        "pretrain": {"steps": 600, "batch": 64, "cifar": 5000, "lr": 2e-3},
        "tuning": {"steps": 60, "every": 60, "images": None, "seeds": (100,), "grid": GRID},
        "report": {"steps": 200, "every": 40, "images": None, "seeds": (0, 1, 2)},
    },
    "quick": {
        "pretrain": {"steps": 2, "batch": 16, "cifar": 20, "lr": 1e-3},
        "tuning": {"steps": 1, "every": 1, "images": 2, "seeds": (100,), "grid": GRID[2:4]},
        "report": {"steps": 2, "every": 1, "images": 2, "seeds": (0,)},
    },
}
ROWS = [(task, network, start) for task in TASKS for network in NETWORKS for start in STARTS]
Row = tuple[str, str, str]


def pretraining_jobs(form: str, seeds: Sequence[int]) -> list[dict]:
    """Return a pre-training for each reported seed."""
    return [{"seed": seed, "form": form, **FORMS[form]["pretrain"]} for seed in seeds]


def tuning_jobs(form: str, rows: Sequence[Row] = ROWS) -> list[dict]:
    """Return jobs for all rows and all pairs of rates, with the encoder of the first seed."""
    stage, first = FORMS[form]["tuning"], FORMS[form]["report"]["seeds"][0]
    return [
        _job(form, "tuning", row, rates, seed, first)
        for seed in stage["seeds"]
        for rates in stage["grid"]
        for row in rows
    ]


def report_jobs(form: str, tuning: list[dict], seeds: Sequence[int], rows: Sequence[Row] = ROWS) -> list[dict]:
    """Return jobs for all rows with their selected rates, ordered by seed."""
    return [_job(form, "report", row, choose_rates(tuning, row), seed, seed) for seed in seeds for row in rows]


def _job(form: str, split: str, row: tuple, rates: tuple[float, float], seed: int, encoder_seed: int) -> dict:
    task, network, start = row
    settings = {key: FORMS[form][split][key] for key in ("steps", "every", "images")}
    given = {"task": task, "network": network, "start": start, "lr": rates[0], "share": rates[1]}
    return {"form": form, "split": split, **given, "seed": seed, "encoder_seed": encoder_seed, **settings}


def choose_rates(tuning: list[dict], row: tuple) -> tuple[float, float]:
    """Return learning rate and share of the encoder with the best first metric of the row's task."""
    metric = TASKS[row[0]][0]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    mine = [run for run in tuning if row_of(run) == row]
    best = min(mine, key=lambda run: sign * run["history"][-1][metric])
    return best["lr"], best["share"]


def row_of(run: dict) -> tuple[str, str, str]:
    """Return task, network and start of a run."""
    return run["task"], run["network"], run["start"]


def run_all(do: Callable[[dict], dict], jobs: list[dict], store: Path, workers: int) -> list[dict]:
    """Return the runs of all jobs; only those that are not in `store` yet are run, and added to it."""
    runs = json.loads(store.read_text()) if store.exists() else []
    stored = lambda job: next((r for r in runs if job.items() <= r.items()), None)
    missing = [job for job in jobs if stored(job) is None]
    print(f"{store.name}: {len(jobs) - len(missing)} runs stored, {len(missing)} to go", flush=True)
    if missing:
        store.parent.mkdir(parents=True, exist_ok=True)
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for run in pool.imap_unordered(do, missing):
                runs.append(run)
                store.with_suffix(".tmp").write_text(json.dumps(runs))
                store.with_suffix(".tmp").replace(store)
                end = run["history"][-1] if "history" in run else run["values"][-1]
                name = ", ".join(str(run[key]) for key in ("task", "network", "start", "lr", "share") if key in run)
                values = " ".join(f"{k}={v:.4g}" for k, v in end.items())
                print(f"{name} seed {run['seed']}: {values} ({run['seconds']:.0f} s)", flush=True)
    return [stored(job) for job in jobs]


def result_table(runs: list[dict]) -> list[dict[str, object]]:
    """Return rows with mean and standard deviation of all metrics over the seeds, and paired differences."""
    rows = []
    for task, network, start in ROWS:
        mine = [run for run in runs if row_of(run) == (task, network, start)]
        if not mine:
            continue
        row: dict[str, object] = {"task": task, "network": network, "encoder": start}
        row |= {name: _text([r["history"][-1][name] for r in mine]) for name in TASKS[task]}
        row["rates"] = f"{mine[0]['lr']:g} x {mine[0]['share']:g}"
        if start == "CAE":
            gains = differences(runs, task, network)
            better = sum((g < 0) == (TASKS[task][0] in LOWER_IS_BETTER) and g != 0 for g in gains)
            row[f"{TASKS[task][0]}: CAE - random"] = _text(gains)
            row["better in"] = f"{better} of {len(gains)} seeds"
        rows.append(row)
    return rows


def differences(runs: list[dict], task: str, network: str) -> list[float]:
    """Return the first metric with CAE minus that with random weights, by seed."""
    metric = TASKS[task][0]
    ends = {(r["start"], r["seed"]): r["history"][-1][metric] for r in runs if row_of(r)[:2] == (task, network)}
    return [value - ends["random", seed] for (start, seed), value in ends.items() if start == "CAE"]


def _text(values: list[float]) -> str:
    spread = f" +- {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


def draw_curves(runs: list[dict], path: Path) -> None:
    """Draw mean and range over seeds of each task's first metric against the step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = {task: names for task, names in TASKS.items() if any(run["task"] == task for run in runs)}
    figure = Figure(figsize=(5.5 * len(tasks), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (task, names) in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True):
        for color, network in enumerate(NETWORKS):
            for start, style in zip(STARTS, ("--", "-"), strict=True):
                mine = [run["history"] for run in runs if row_of(run) == (task, network, start)]
                if mine:
                    steps = [point["step"] for point in mine[0]]
                    values = [[history[i][names[0]] for history in mine] for i in range(len(steps))]
                    label = f"{network}, {start}"
                    axis.plot(steps, [statistics.mean(v) for v in values], style, color=f"C{color}", label=label)
                    low, high = [min(v) for v in values], [max(v) for v in values]
                    axis.fill_between(steps, low, high, color=f"C{color}", alpha=0.15, linewidth=0)
        axis.set(xlabel="step", ylabel=names[0], title=task)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs with one thread each (default 2)")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with cifar10_subset.zip, coco_panoptic, camvid, rgbd_kitchen and weights")
    form = "quick" if args.quick else "full"
    seeds = args.seeds or FORMS[form]["report"]["seeds"]
    first = FORMS[form]["report"]["seeds"][0]
    if first not in seeds:
        parser.error(f"--seeds: rates are selected with the encoder of seed {first}, which must be among them")
    rows = [row for row in ROWS if row[0] in args.tasks and row[1] in args.networks]
    stores = {name: WORK_DIR / form / f"{name}.json" for name in ("pretraining", "tuning", "report")}
    if args.quick:
        for store in stores.values():
            store.unlink(missing_ok=True)
    before = run_all(pretrain, pretraining_jobs(form, seeds), stores["pretraining"], args.jobs)
    lost = [run["seed"] for run in before if not weights_file(form, run["seed"], "CAE").is_file()]
    if lost:
        raise SystemExit(f"the encoders of the seeds {lost} are gone: delete {stores['pretraining']} and start again")
    tuning = run_all(train_dense, tuning_jobs(form, rows), stores["tuning"], args.jobs)
    runs = run_all(train_dense, report_jobs(form, tuning, seeds, rows), stores["report"], args.jobs)

    first, last = before[0]["values"][0], before[0]["values"][-1]
    losses = ", ".join(f"{key} {first[key]:.3g} -> {last[key]:.3g}" for key in first)
    settings = FORMS[form]
    note = (
        f"pre-training: {settings['pretrain']['steps']} steps of {settings['pretrain']['batch']} crops, "
        f"{statistics.mean(run['cpu'] for run in before):.0f} s of CPU time, {losses}\n\n"
        f"{settings['report']['steps']} steps of {BATCH} images {SIZE[0]}x{SIZE[1]}, "
        f"{len(seeds)} seeds; mean +- sd; rates: learning rate x factor of the encoder"
    )
    text = f"{note}\n\n{_common.format_table(result_table(runs))}"
    print(text, flush=True)
    draw_curves(runs, (WORK_DIR if args.quick else ROOT / "docs") / "cae_dense.png")
    if not args.no_record:
        _common.record(text, args.quick)
    means = {f"{t}_{n}": statistics.mean(differences(runs, t, n)) for t, n in dict.fromkeys(row[:2] for row in rows)}
    _common.result(**means, runs=len(runs))


if __name__ == "__main__":
    main()
