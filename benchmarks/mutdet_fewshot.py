"""Effect of MutDet's pre-training with few labels: rotated AP after fine-tuning on a share of the labels.

    python benchmarks/mutdet_fewshot.py --budget 600       # 10 CPU hours; can be interrupted and continued
    python benchmarks/mutdet_fewshot.py --quick            # a few steps of each kind of run, no conclusion
    python benchmarks/mutdet_fewshot.py --budget 30 --data hit_uav --arms scratch "scratch, equal compute" MutDet \
        --shares 0.01 0.05

On HIT-UAV (300 thermal aerial images) and on synthetic scenes. Detectors are pre-trained on the pixels of the training
images with pseudo boxes from contours, and fine-tuned with the same number of steps in all arms. All arms have the same
detector, with ImageNet weights in its frozen backbone. "scratch, equal compute" is fine-tuned longer, by the CPU time
of MutDet's pre-training. DETReg regresses given embeddings; the arms after it add a contrastive loss, enhanced
embeddings, enhanced features, and the siamese head with the alignment of proposals (MutDet).

The learning rate of fine-tuning is searched for each arm among RATES, with half of its steps, on 5 % of the training
images, validated on other training images (highest AP50): validation images play no part. Pre-training has the rate of
its config. Arms are paired by seed, which chooses the labels; intervals are those of Student's t.

`--budget` gives the CPU minutes of all runs. The first call measures the cost of the steps and fixes their number for
all later calls with the same folder, so that arms and seeds can be added. Needs VISLAB_DATA with hit_uav and weights/.
"""

import itertools
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import _common
from _mutdet_runs import ARMS, DATA, EQUAL, METRICS, ROOT, VALIDATION, pseudo_labels, train_once
from scipy import stats

RATES = (0.005, 0.01, 0.02, 0.04)  # of Muon; Adam has a tenth
SEARCH_SHARE = 0.05
PRETRAIN_PART = 1.5  # CPU time of MutDet's pre-training relative to that of a fine-tuning
COST_STEPS, COST_IMAGES, LEAST_STEPS = 6, 6, 30
QUICK_STEPS = {"pretrain": 2, "finetune": 3, "equal": 4}


# ------------------------------------------------------------------------------------------------------ plan of a run


def pretrained_arms(arms: Sequence[str]) -> list[str]:
    """Return the arms with a pre-training; MutDet always, since it sets the length of equal compute."""
    return [arm for arm in ARMS if ARMS[arm] is not None and (arm in arms or arm == "MutDet" and EQUAL in arms)]


def shares_of(args, data: str) -> list[float]:
    """Return the shares of the labels for a dataset."""
    return list(args.shares or DATA[data]["shares"])


def measure_costs(args, data: str, source: Sequence[str], folder: Path) -> dict[str, float]:
    """Return CPU seconds of a step by arm ("scratch" for all fine-tunings), of a validation image, and of a start."""
    common = {"data": data, "seed": 0, "steps": COST_STEPS, "work_dir": str(folder / "cost"), "images": COST_IMAGES}
    fine = {"kind": "finetune", "arm": "scratch", "share": SEARCH_SHARE, "lr": None, "load_from": None}
    runs = [in_process(common | fine)]
    runs += [
        in_process(common | {"kind": "pretrain", "arm": arm, "source": list(source)})
        for arm in pretrained_arms(args.arms)
    ]
    costs = {run["arm"]: run["step_cpu"] for run in runs}
    evaluation = runs[0]["eval_cpu"] / COST_IMAGES
    start = runs[0]["seconds"] - COST_STEPS * costs["scratch"] - 3 * runs[0]["eval_cpu"]
    return costs | {"validation image": evaluation, "start": max(0.0, start)}


def in_process(job: dict) -> dict:
    """Return a run made in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(train_once, (job,))


def lengths(args, data: str, costs: dict[str, float], seconds: float) -> dict[str, int]:
    """Return the steps of pre-training, fine-tuning and equal compute whose runs take `seconds` of CPU time together.

    Raises:
        SystemExit: That is less than LEAST_STEPS of fine-tuning; the message has the minutes that are needed.
    """
    seeds, shares = len(args.seeds), len(shares_of(args, data))
    reported, searched = seeds * shares, len(RATES)
    fixed, factor = 0.0, 0.0  # seconds, and fine-tuning steps in all runs together
    for arm in args.arms:
        longer = 1 + PRETRAIN_PART * (arm == EQUAL)
        factor += longer * (reported + searched / 2)
        validations = 3 * (reported * DATA[data]["validation"] + searched * VALIDATION)
        fixed += validations * costs["validation image"] + (reported + searched) * costs["start"]
    for arm in pretrained_arms(args.arms):
        factor += seeds * PRETRAIN_PART * costs[arm] / costs["MutDet"]
        fixed += seeds * costs["start"]
    steps = int((seconds - fixed) / (factor * costs["scratch"]))
    if steps < LEAST_STEPS:
        need = (fixed + LEAST_STEPS * factor * costs["scratch"]) / 60
        raise SystemExit(
            f"{data}: these arms, seeds and shares need at least {need:.0f} CPU minutes for {LEAST_STEPS} steps of "
            f"fine-tuning, and there are {seconds / 60:.0f}: raise --budget, or give fewer --arms, --seeds or --shares"
        )
    before = PRETRAIN_PART * costs["scratch"] / costs.get("MutDet", costs["scratch"])
    found = {"pretrain": steps * before, "finetune": steps, "equal": steps * (1 + PRETRAIN_PART)}
    return {kind: 6 * max(1, round(count / 6)) for kind, count in found.items()}  # halves and thirds are whole


def pretrain_jobs(args, steps: dict, sources: dict, folder: Path) -> list[dict]:
    """Return the pre-trainings of all arms that have one."""
    return [
        {
            "kind": "pretrain", "data": data, "arm": arm, "seed": seed, "steps": steps[data]["pretrain"],
            "source": list(sources[data]), "work_dir": str(folder / data / f"pretrain_{slug(arm)}_{seed}"),
        }
        for seed, data, arm in itertools.product(args.seeds, args.data, pretrained_arms(args.arms))
    ]  # fmt: skip


def finetune_jobs(
    args, steps: dict, pretrained: Sequence[dict], folder: Path, rates: dict[tuple[str, str], float] | None = None
) -> list[dict]:
    """Return the fine-tunings with the rates found for (data, arm), or without `rates` those of the search."""
    jobs, kind = [], "search" if rates is None else "finetune"
    for seed, data, arm in itertools.product(args.seeds[:1] if rates is None else args.seeds, args.data, args.arms):
        start = [r for r in pretrained if (r["data"], r["arm"], r["seed"]) == (data, arm, seed)]
        length = steps[data]["equal" if arm == EQUAL else "finetune"]
        for share in shares_of(args, data) if rates else [SEARCH_SHARE]:
            for lr in [rates[data, arm]] if rates else RATES:
                name = f"{kind}_{slug(arm)}_{share:g}_{lr:g}_{seed}"
                jobs.append(
                    {
                        "kind": kind, "data": data, "arm": arm, "seed": seed, "share": share, "lr": lr,
                        "steps": length if rates else max(1, length // 2), "images": 2 if args.quick else None,
                        "load_from": start[0]["checkpoint"] if start else None, "work_dir": str(folder / data / name),
                    }
                )  # fmt: skip
    return jobs


def best_rates(found: Sequence[dict]) -> dict[tuple[str, str], float]:
    """Return the rate for each (data, arm): that of the highest AP50; among equals, the highest AP, the lowest rate."""
    best: dict[tuple[str, str], dict] = {}
    for run in sorted(found, key=lambda r: r["lr"]):
        place = run["data"], run["arm"]
        value = lambda r: (r["metrics"]["AP50"], r["metrics"]["AP"])
        if place not in best or value(run) > value(best[place]):
            best[place] = run
    return {place: run["lr"] for place, run in best.items()}


def slug(arm: str) -> str:
    """Return the name of an arm as part of a file name."""
    return arm.replace(",", "").replace(" ", "_")


def run_all(jobs: list[dict], store: Path, workers: int) -> list[dict]:
    """Return the runs of all jobs; only those that are not in `store` yet are run, and added to it."""
    runs = json.loads(store.read_text()) if store.exists() else []
    stored = lambda job: next((r for r in runs if job.items() <= r.items()), None)
    missing = [job for job in jobs if stored(job) is None]
    print(f"{len(jobs) - len(missing)} runs stored, {len(missing)} to go", flush=True)
    if missing:
        with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
            for run in pool.imap_unordered(train_once, missing):
                runs.append(run)
                write(store, runs)
                share = f", {run['share']:g} of the labels, rate {run['lr']:g}" if "share" in run else ""
                values = ", ".join(f"{name} {run['metrics'][name]:.2f}" for name in METRICS)
                name = f"{run['kind']}, {run['data']}, {run['arm']}{share}, seed {run['seed']}"
                print(f"{name}: {values} ({run['steps']} steps, {run['seconds']:.0f} s)", flush=True)
    return [stored(job) for job in jobs]


def write(path: Path, content: object) -> None:
    """Write JSON atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(content))
    path.with_suffix(".tmp").replace(path)


# ------------------------------------------------------------------------------------------------------------- tables


def values(runs: Sequence[dict], data: str, arm: str, share: float, metric: str) -> dict[int, float]:
    """Return the metric by seed."""
    mine = [r for r in runs if (r["data"], r["arm"], r["share"]) == (data, arm, share)]
    return {r["seed"]: r["metrics"][metric] for r in mine}


def _table(runs: Sequence[dict], data: str, title: str, cell: Callable[[str, float], str]) -> list[dict]:
    mine = [r for r in runs if r["data"] == data]
    rows = []
    for arm in (arm for arm in ARMS if any(r["arm"] == arm for r in mine)):
        row: dict[str, object] = {title: arm}
        row |= {f"{share:.0%} of the labels": cell(arm, share) for share in sorted({r["share"] for r in mine})}
        rows.append(row)
    return rows


def result_table(runs: Sequence[dict], data: str) -> list[dict]:
    """Return rows with AP50 / AP75 / AP, mean and standard deviation over the seeds, by share of the labels."""
    cell = lambda arm, share: " / ".join(mean_and_sd(values(runs, data, arm, share, m).values()) for m in METRICS)
    rows = _table(runs, data, f"{data}: AP50 / AP75 / AP", cell)
    for row, arm in ((row, next(iter(row.values()))) for row in rows):
        mine = [r for r in runs if (r["data"], r["arm"]) == (data, arm)]
        row |= {"rate": f"{mine[0]['lr']:g}", "steps": max(r["steps"] for r in mine)}
    return rows


def curve_table(runs: Sequence[dict], data: str) -> list[dict]:
    """Return rows with the mean AP50 at each of the validations."""

    def cell(arm: str, share: float) -> str:
        mine = [r["curve"] for r in runs if (r["data"], r["arm"], r["share"]) == (data, arm, share)]
        return ", ".join(f"{statistics.mean(m['AP50'] for _, m in points):.2f}" for points in zip(*mine, strict=True))

    return _table(runs, data, f"{data}: AP50 at 1/3, 2/3, end", cell)


def difference_table(runs: Sequence[dict], data: str, metric: str) -> list[dict]:
    """Return rows with paired differences of a metric to MutDet and their 95 % intervals."""

    def cell(arm: str, share: float) -> str:
        ours, other = (values(runs, data, a, share, metric) for a in ("MutDet", arm))
        return interval([ours[seed] - other[seed] for seed in sorted(ours.keys() & other.keys())])

    others = [r for r in runs if r["arm"] != "MutDet"]
    return _table(others, data, f"{data}: {metric} of MutDet minus that of", cell)


def interval(differences: Sequence[float]) -> str:
    """Return the mean and its 95 % interval as text."""
    if len(differences) < 2:
        return f"{differences[0]:+.2f}" if differences else ""
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.mean(differences)
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def mean_and_sd(part: Sequence[float]) -> str:
    """Return mean and standard deviation as text; "" without values."""
    part = list(part)
    if not part:
        return ""
    return f"{statistics.mean(part):.2f}" + (f" +- {statistics.stdev(part):.2f}" if len(part) > 1 else "")


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--budget", type=float, default=600, help="CPU minutes of all runs (default 600)")
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs with one thread each (default 2)")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="datasets")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="arms")
    parser.add_argument("--shares", nargs="+", type=float, help="shares of the labels (default: those of the dataset)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument(
        "--work-dir", type=Path, default=ROOT / "work_dirs" / "mutdet_fewshot", help="folder of results"
    )
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with hit_uav and weights")
    folder = args.work_dir / ("quick" if args.quick else f"budget_{args.budget:g}")
    store = folder / "runs.json"
    if args.quick:  # a smoke test, which does not reuse stored runs
        store.unlink(missing_ok=True)
        args.seeds, args.shares = args.seeds[:1], args.shares or [0.05]
    limit = 12 if args.quick else None
    places = {data: folder / data if args.quick else args.work_dir / "pseudo" / data for data in args.data}
    sources = {data: pseudo_labels(data, place, limit) for data, place in places.items()}
    steps = {}
    for data in args.data:
        fixed = folder / data / "steps.json"
        if args.quick:
            steps[data] = QUICK_STEPS
        elif fixed.exists():
            steps[data] = json.loads(fixed.read_text())["steps"]
        else:
            costs = measure_costs(args, data, sources[data], folder / data)
            steps[data] = lengths(args, data, costs, 60 * args.budget / len(args.data))
            write(fixed, {"steps": steps[data], "costs": costs})
        print(f"{data}: {steps[data]} steps", flush=True)
    pretrained = run_all(pretrain_jobs(args, steps, sources, folder), store, args.jobs)
    searched = run_all(finetune_jobs(args, steps, pretrained, folder), store, args.jobs)
    runs = run_all(finetune_jobs(args, steps, pretrained, folder, best_rates(searched)), store, args.jobs)
    blocks = []
    for data in args.data:
        counts = ", ".join(f"{kind} {count}" for kind, count in steps[data].items())
        tables = [result_table(runs, data), curve_table(runs, data)]
        tables += [difference_table(runs, data, metric) for metric in METRICS] if "MutDet" in args.arms else []
        blocks += [f"{data}: steps {counts}; {len(args.seeds)} seeds", *(_common.format_table(t) for t in tables if t)]
    text = "\n\n".join(blocks)
    print(text, flush=True)
    if not args.no_record:
        _common.record(text, args.quick)
    ends = {}
    for data, arm in itertools.product(args.data, args.arms):
        last = values(runs, data, arm, min(shares_of(args, data)), "AP50")
        ends[f"{data}_{slug(arm)}"] = statistics.mean(last.values())
    _common.result(**ends)


if __name__ == "__main__":
    main()
