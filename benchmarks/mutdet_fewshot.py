"""Effect of MutDet's pre-training with few labels: rotated AP after fine-tuning on a share of the labels.

    python benchmarks/mutdet_fewshot.py             # many hours on two cores; can be interrupted and continued
    python benchmarks/mutdet_fewshot.py --quick     # a few steps of each kind of run, no conclusion
    python benchmarks/mutdet_fewshot.py --data hit_uav --arms scratch DETReg MutDet --seeds 0 1 2

On HIT-UAV (300 thermal aerial images) and on synthetic scenes. Detectors are pre-trained on the pixels of the training
images with pseudo boxes from contours, and fine-tuned with the same steps and rates in all arms. All arms use the
same ImageNet weights in the frozen backbone. "scratch, equal compute" is fine-tuned longer, by the CPU time of
MutDet's pre-training. DETReg regresses given embeddings; the arms after it add a contrastive loss, enhanced embeddings,
enhanced features, and the siamese head with the alignment of proposals (MutDet). Arms are paired by seed, which chooses
the labels.

Needs VISLAB_DATA with hit_uav and weights/. Completed runs are stored in work_dirs/mutdet_fewshot/.
"""

import itertools
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import _common
from _mutdet_runs import ARMS, DATA, WORK_DIR, pseudo_labels, train_once
from scipy import stats

FULL = {"pretrain": 1500, "finetune": 600, "images": None, "pixels": None}
QUICK = {"pretrain": 2, "finetune": 2, "images": 2, "pixels": 12}
EQUAL = "scratch, equal compute"
METRICS = ("mAP_50_11point", "mAP_75_11point")


def pretrain_jobs(args, sizes: dict, sources: dict, folder: Path) -> list[dict]:
    """Return the pre-trainings of all arms that have one; MutDet's always, which sets the length of equal compute."""
    arms = [arm for arm in ARMS if ARMS[arm] is not None and (arm in args.arms or arm == "MutDet")]
    return [
        {
            "kind": "pretrain", "data": data, "arm": arm, "seed": seed, "steps": sizes["pretrain"],
            "source": list(sources[data]), "work_dir": str(folder / data / f"pretrain_{arm}_{seed}".replace(" ", "_")),
        }
        for seed, data, arm in itertools.product(args.seeds, args.data, arms)
    ]  # fmt: skip


def finetune_jobs(args, sizes: dict, pretrained: Sequence[dict], folder: Path, steps: dict | None = None) -> list[dict]:
    """Return the fine-tunings; with `steps` (data, seed) only those of equal compute, with that length."""
    arms = [arm for arm in args.arms if (arm == EQUAL) == (steps is not None)]
    jobs = []
    for seed, data, arm in itertools.product(args.seeds, args.data, arms):
        start = [r for r in pretrained if (r["data"], r["arm"], r["seed"]) == (data, arm, seed)]
        for share in args.shares or DATA[data]["shares"]:
            name = f"finetune_{arm}_{share:g}_{seed}".replace(" ", "_").replace(",", "")
            jobs.append(
                {
                    "kind": "finetune", "data": data, "arm": arm, "seed": seed, "share": share,
                    "steps": steps[data, seed] if steps else sizes["finetune"], "images": sizes["images"],
                    "load_from": start[0]["checkpoint"] if start else None, "work_dir": str(folder / data / name),
                }
            )  # fmt: skip
    return jobs


def equal_steps(args, sizes: dict, pretrained: Sequence[dict], tuned: Sequence[dict]) -> dict[tuple[str, int], int]:
    """Return the steps of fine-tuning that take the CPU time of MutDet's pre-training and of the ordinary steps."""
    steps = {}
    for data, seed in itertools.product(args.data, args.seeds):
        before = next(r for r in pretrained if (r["data"], r["arm"], r["seed"]) == (data, "MutDet", seed))
        step = statistics.median(r["cpu"] / r["steps"] for r in tuned if (r["data"], r["seed"]) == (data, seed))
        steps[data, seed] = sizes["finetune"] + round(before["cpu"] / step)
    return steps


def run_all(jobs: list[dict], store: Path, workers: int) -> list[dict]:
    """Return the runs of all jobs; only those that are not in `store` yet are run, and added to it."""
    runs = json.loads(store.read_text()) if store.exists() else []
    identity = lambda job: {k: v for k, v in job.items() if (k, job["arm"]) != ("steps", EQUAL)}
    stored = lambda job: next((r for r in runs if identity(job).items() <= r.items()), None)
    missing = [job for job in jobs if stored(job) is None]
    print(f"{len(jobs) - len(missing)} runs stored, {len(missing)} to go", flush=True)
    if missing:
        with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
            for run in pool.imap_unordered(train_once, missing):
                runs.append(run)
                store.parent.mkdir(parents=True, exist_ok=True)
                store.with_suffix(".tmp").write_text(json.dumps(runs))
                store.with_suffix(".tmp").replace(store)
                value = run["metrics"].get(METRICS[0], math.nan)
                share = f", {run['share']:g} of the labels" if "share" in run else ""
                name = f"{run['kind']}, {run['data']}, {run['arm']}{share}, seed {run['seed']}"
                print(f"{name}: AP50 {value:.1f} ({run['steps']} steps, {run['seconds']:.0f} s)", flush=True)
    return [stored(job) for job in jobs]


# ------------------------------------------------------------------------------------------------------------- tables


def values(runs: Sequence[dict], data: str, arm: str, share: float, metric: str) -> dict[int, float]:
    """Return the metric by seed."""
    mine = [r for r in runs if (r["data"], r["arm"], r["share"]) == (data, arm, share)]
    return {r["seed"]: r["metrics"][metric] for r in mine}


def result_table(runs: Sequence[dict], data: str) -> list[dict]:
    """Return rows with AP50 / AP75, mean and standard deviation over the seeds, by share of the labels."""
    rows = []
    for arm in (arm for arm in ARMS if any(r["arm"] == arm and r["data"] == data for r in runs)):
        row: dict[str, object] = {f"{data}: AP50, AP75": arm}
        for share in sorted({r["share"] for r in runs if r["data"] == data}):
            parts = [list(values(runs, data, arm, share, metric).values()) for metric in METRICS]
            row[f"{share:.0%} of the labels"] = ", ".join(_mean_and_sd(part) for part in parts)
        row["steps"] = max(r["steps"] for r in runs if (r["data"], r["arm"]) == (data, arm))
        rows.append(row)
    return rows


def difference_table(runs: Sequence[dict], data: str) -> list[dict]:
    """Return rows with paired differences of AP50 to MutDet and their 95 % intervals (Student's t)."""
    rows = []
    for arm in (a for a in ARMS if a != "MutDet" and any(r["arm"] == a and r["data"] == data for r in runs)):
        row: dict[str, object] = {f"{data}: difference of AP50 at equal seeds": f"MutDet - {arm}"}
        for share in sorted({r["share"] for r in runs if r["data"] == data}):
            ours, other = (values(runs, data, a, share, METRICS[0]) for a in ("MutDet", arm))
            row[f"{share:.0%} of the labels"] = interval(
                [ours[s] - other[s] for s in sorted(ours.keys() & other.keys())]
            )
        rows.append(row)
    return rows


def interval(differences: Sequence[float]) -> str:
    """Return the mean and its 95 % interval as text."""
    if len(differences) < 2:
        return f"{differences[0]:+.1f}" if differences else ""
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.mean(differences)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def _mean_and_sd(part: Sequence[float]) -> str:
    if not part:
        return ""
    return f"{statistics.mean(part):.1f}" + (f" +- {statistics.stdev(part):.1f}" if len(part) > 1 else "")


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs with one thread each (default 2)")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="datasets")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="arms")
    parser.add_argument("--shares", nargs="+", type=float, help="shares of the labels (default: those of the dataset)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds (default 0 1 2)")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with hit_uav and weights")
    sizes, folder = (QUICK, WORK_DIR / "quick") if args.quick else (FULL, WORK_DIR / "full")
    store = folder / "runs.json"
    if args.quick:  # a smoke test, which does not reuse stored runs
        store.unlink(missing_ok=True)
        args.seeds, args.shares = args.seeds[:1], args.shares or [0.05]
    sources = {data: pseudo_labels(data, folder / data, sizes["pixels"]) for data in args.data}
    pretrained = run_all(pretrain_jobs(args, sizes, sources, folder), store, args.jobs)
    runs = run_all(finetune_jobs(args, sizes, pretrained, folder), store, args.jobs)
    if EQUAL in args.arms and runs:
        steps = (
            equal_steps(args, sizes, pretrained, runs)
            if not args.quick
            else dict.fromkeys(itertools.product(args.data, args.seeds), sizes["finetune"] + 1)
        )
        runs += run_all(finetune_jobs(args, sizes, pretrained, folder, steps), store, args.jobs)
    blocks = [
        _common.format_table(table(runs, data)) for data in args.data for table in (result_table, difference_table)
    ]
    note = f"{sizes['pretrain']} steps of pre-training, {sizes['finetune']} of fine-tuning, {len(args.seeds)} seeds"
    text = "\n\n".join([note, *blocks])
    print(text, flush=True)
    if not args.no_record:
        _common.record(text, args.quick)
    shown = [(data, min(r["share"] for r in runs if r["data"] == data)) for data in args.data]
    ends = {f"{data}_{arm}": values(runs, data, arm, share, METRICS[0]) for data, share in shown for arm in args.arms}
    ends = {k.replace(" ", "_").replace(",", ""): statistics.mean(v.values()) for k, v in ends.items() if v}
    _common.result(**ends)


if __name__ == "__main__":
    main()
