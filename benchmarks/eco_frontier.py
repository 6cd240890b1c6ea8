"""Quality against cost of ECO-M2F: fixed exits, gate, random selection with the same frequencies, oracle.

    python benchmarks/eco_frontier.py [--data mixed|scenes|coco_panoptic|camvid] [--seeds 0 1 2] [--quick]
        [--picture FILE]

For each seed: step A trains the model of configs/eco_m2f/eco_m2f_lite0_<data>_cpu.py, step B measures the quality of
images for the gate and of test images, and step C fits a gate for each beta. The time of each exit is then measured
with batches of 1 and 8. Results are stored in WORK/<data>/results.json, and an interrupted run continues (training from
its checkpoint, step B from its file). The gate should be better than random selection with equal mean cost.

Half of the mixed scenes have one large object and half many small ones, which benefit differently from more layers, so
the gate must be better than random selection. In "scenes", all images have the same distribution.

The gate is fitted on scenes not used for training. For camvid and coco_panoptic only training images are available.

Needs VISLAB_DATA for the ImageNet weights, unless --weights is set. Takes 15 to 45 minutes on one core.
"""

import json
import os
import statistics
import time
from pathlib import Path

import _common

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "eco_m2f"
FILES = {"mixed": "scenes_mixed", "scenes": "scenes", "coco_panoptic": "coco_panoptic", "camvid": "camvid"}
MEASURE = {"mixed": "pq", "scenes": "pq", "coco_panoptic": "pq", "camvid": "miou"}
ITERATIONS = {"mixed": 2000, "scenes": 600, "coco_panoptic": 1000, "camvid": 600}
BETAS = (0.0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05)
FRESH = 100  # added to the seeds of scenes for step B, which differ from those for training and testing


def config_of(args):
    """Return the path of the config, and the changes to it."""
    options = {}
    if args.weights:
        options["weights"] = args.weights
    iterations = args.iterations or (40 if args.quick else ITERATIONS[args.data])
    options |= {
        "train_cfg.max_iters": iterations,
        "train_cfg.val_interval": iterations,
        "default_hooks.checkpoint.interval": max(20, iterations // 10),
    }
    return CONFIGS / f"eco_m2f_lite0_{FILES[args.data]}_cpu.py", options


def loaders(cfg, quick: bool):
    """Return data loaders of images for the gate and of test images, with the test pipeline."""
    from vislab.engine.runner import Runner

    found = []
    for split in ("gate", "test"):
        section = cfg.val_dataloader.to_dict()  # testing uses it, too
        dataset = section["dataset"]
        if split == "gate":
            source = cfg.train_dataloader.dataset.to_dict()
            dataset |= {key: source[key] for key in ("ann_file", "data_prefix") if key in source}
        parts = dataset.get("datasets", [dataset])
        for part in parts:
            if "length" in part:
                part["length"] = (24 if quick else 1800 if split == "gate" else 2000) // len(parts)
                part["seed"] += FRESH if split == "gate" else 0
            elif quick:
                part["indices"] = 8
        found.append(Runner.build_dataloader(section | {"num_workers": 0}, seed=0))
    return found


def run_seed(args, seed: int, work: Path) -> dict:
    """Run steps A and B for one seed."""
    import torch

    from vislab.apis import train
    from vislab.systems.eco_m2f import derive, exit_costs

    torch.set_num_threads(args.threads)
    config, options = config_of(args)
    began, whole = time.process_time(), not any(work.glob("iter_*.pth"))
    metrics = train(config, work_dir=work, resume=True, seed=seed, cfg_options=options)
    minutes = (time.process_time() - began) / 60 if whole else None
    model, gate_batches, test_batches = trained(args, work)
    derive(model, gate_batches, work / "gate.npz", measure=MEASURE[args.data])
    derive(model, test_batches, work / "test.npz", measure=MEASURE[args.data])
    size = next(iter(test_batches))["inputs"][0].shape[-2:]
    size = tuple(-(-n // 32) * 32 for n in size)
    return {
        "iterations": options["train_cfg.max_iters"],
        "cpu_minutes": minutes,
        "metrics": metrics,
        "size": size,
        "costs": exit_costs(model, *size, model.exits),
    }


def trained(args, work: Path) -> tuple:
    """Return the trained model of `work`, and the output of `loaders`."""
    from mmengine.registry import init_default_scope

    from vislab.apis.build import build_model, load
    from vislab.engine.resume.latest import find_latest_checkpoint

    cfg = load(*config_of(args))
    init_default_scope("vislab")
    model = build_model(cfg, str(find_latest_checkpoint(str(work))), device="cpu")
    model.inference.tasks = ("semantic",) if MEASURE[args.data] == "miou" else ("panoptic",)
    return model, *loaders(cfg, args.quick)


def times(args, work: Path, size: tuple[int, int]) -> tuple[dict, dict]:
    """Time all exits.

    Returns:
        {batch: {"wall": {exit: median seconds per image}, "share": {exit: time relative to the last exit in the same
        round, median over rounds}}}, and the costs of the exits including sampling.
    """
    import torch

    from vislab.engine.allocator import keep_freed_memory
    from vislab.systems.eco_m2f import exit_costs

    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as in the Runner
    model, found = trained(args, work)[0], {}
    for batch in (1, 8):
        images = torch.rand(batch, 3, *size)

        def run(k: int, images=images):
            with torch.inference_mode():
                model(images, num_layers=k)

        timed = _common.interleave(
            {str(k): lambda k=k: run(k) for k in model.exits}, pairs=3 if args.quick else 31, warmup=2
        )
        walls = {k: t["wall"] for k, t in timed.items()}
        deepest = walls[str(model.exits[-1])]
        found[str(batch)] = {
            "wall": {k: statistics.median(wall) / batch for k, wall in walls.items()},
            "share": {
                k: statistics.median(a / b for a, b in zip(wall, deepest, strict=True)) for k, wall in walls.items()
            },
        }
    return found, exit_costs(model, *size, model.exits, sampling=True)


def policy_rows(work: Path, costs: dict) -> dict:
    """Run step C for one seed, and compute how well the features of the gate predict the gain of more layers."""
    import torch

    from vislab.systems.eco_m2f import Derived, fit_gate, frontier

    learned, tested = Derived.load(work / "gate.npz"), Derived.load(work / "test.npz")
    rows = frontier(learned, tested, BETAS, costs={int(k): v for k, v in costs.items()})
    gate = torch.nn.Linear(learned.features.shape[1], len(learned.exits))
    fit_gate(gate, learned, 0.0, loss="regress")
    with torch.no_grad():
        found = gate(torch.from_numpy(tested.features)).numpy()
    gain, told = (q[:, -1] - q[:, 0] for q in (tested.quality, found))
    residual = float(((gain - told) ** 2).sum() / max(((gain - gain.mean()) ** 2).sum(), 1e-12))
    return {"rows": rows, "r2": 1 - residual, "images": [len(learned.names), len(tested.names)]}


def agreement(works: list[Path]) -> float | None:
    """Return the correlation between trained models of the gain of each image from the first to the last exit."""
    import numpy as np

    from vislab.systems.eco_m2f import Derived

    gains = [np.diff(Derived.load(work / "test.npz").quality[:, [0, -1]])[:, 0] for work in works]
    if len(gains) < 2:
        return None
    return float(np.corrcoef(gains)[np.triu_indices(len(gains), 1)].mean())


def summarize(seeds: list[dict]) -> tuple[list[dict], list[dict], dict]:
    """Return tables of policies and exits over seeds, and the RESULT values."""
    rows, gains = [], []
    key = "set_quality" if "set_quality" in seeds[0]["rows"][0] else "quality"
    for i, first in enumerate(seeds[0]["rows"]):
        same = [seed["rows"][i] for seed in seeds]
        row = {"policy": first["policy"], "beta": first.get("beta", "")}
        for name in dict.fromkeys(("depth", "cost", "quality", key)):
            row[name] = _mean(same, name)
        if first["policy"] == "gate":
            differences = {
                "over random": [100 * row["over_random"] for row in same],
                "set over random": [100 * (s["rows"][i][key] - s["rows"][i + 1][key]) for s in seeds],
                "over fixed": [100 * row["over_fixed"] for row in same],
            }
            for name, values in differences.items():
                row[name] = f"{statistics.mean(values):+.2f} +- {_deviation(values):.2f}"
            row["error"] = f"{statistics.mean(100 * row['error'] for row in same):.2f}"
            gains.append(statistics.mean(differences["over random"]))
        rows.append(row)
    exits, worst = [], 0.0
    costs, all_costs = seeds[0]["costs"], seeds[0]["all_costs"]
    deepest = max(costs, key=int)
    for k in costs:
        share = all_costs[k] / all_costs[deepest]
        row = {"exit": k, "GMAC": f"{costs[k]:.3f}", "share": f"{costs[k] / costs[deepest]:.3f}"}
        row["share with sampling"] = f"{share:.3f}"
        for batch, timed in seeds[0]["times"].items():
            row[f"ms at {batch}"] = f"{1e3 * timed['wall'][k]:.2f}"
            row[f"time share at {batch}"] = f"{timed['share'][k]:.3f}"
            worst = max(worst, abs(timed["share"][k] / share - 1))
        exits.append(row)
    values = {"best_gain_points": max(gains), "worst_gain_points": min(gains), "share_deviation": worst}
    return rows, exits, values | {"seeds": len(seeds)}


def _mean(rows: list[dict], name: str) -> str:
    values = [row[name] for row in rows]
    return f"{statistics.mean(values):.4f} +- {_deviation(values):.4f}"


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def draw(folder: Path, path: str) -> None:
    """Draw quality against cost, mean over seeds, one panel per dataset with results."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = {name: folder / name / "results.json" for name in FILES}
    found = {name: list(json.loads(file.read_text()).values()) for name, file in found.items() if file.exists()}
    figure, panels = plt.subplots(1, len(found), figsize=(4 * len(found), 3.2), squeeze=False, layout="constrained")
    for panel, (name, seeds) in zip(panels[0], found.items(), strict=True):
        for label, mark in (("exit", "k.:"), ("gate", "o-"), ("random", "s--"), ("oracle", "^-")):
            chosen = [i for i, row in enumerate(seeds[0]["rows"]) if row["policy"].startswith(label)]
            points = [
                [statistics.mean(s["rows"][i][key] for s in seeds) for key in ("cost", "quality")] for i in chosen
            ]
            panel.plot(*zip(*sorted(points), strict=True), mark, label=label, markersize=4, linewidth=1)
        panel.set(title=f"{name}, {len(seeds)} seeds", xlabel="GMAC an image", ylabel=f"mean {MEASURE[name]} an image")
    panels[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def keep(results: dict, file: Path) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(results))
    temporary.replace(file)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--data", choices=FILES, default="mixed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="iterations of step A (default: depends on --data)")
    parser.add_argument("--weights", help="ImageNet weights of EfficientNet-Lite0 (default: in VISLAB_DATA)")
    parser.add_argument("--work", default="work_dirs/eco_frontier")
    parser.add_argument("--picture", help="draw the results of all datasets in --work to this file")
    args = parser.parse_args()
    if not args.weights and not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA or --weights, EfficientNet-Lite0's ImageNet weights")
    seeds = args.seeds[:1] if args.quick else args.seeds
    folder = Path(args.work, args.data + ("_quick" if args.quick else ""))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for seed in map(str, seeds):
        work = folder / f"seed{seed}"
        if seed not in results:
            results[seed] = run_seed(args, int(seed), work)
            keep(results, file)
        results = json.loads(file.read_text())  # keys are strings
        results[seed] |= policy_rows(work, results[seed]["costs"])
        keep(results, file)
    first = results[str(seeds[0])]
    if "all_costs" not in first:
        first["times"], first["all_costs"] = times(args, folder / f"seed{seeds[0]}", tuple(first["size"]))
    keep(results, file)
    results = json.loads(file.read_text())  # again, for the keys
    chosen = [results[str(seed)] for seed in seeds]
    rows, exits, values = summarize(chosen)
    r2 = ", ".join(f"{seed['r2']:.2f}" for seed in chosen)
    agreed = agreement([folder / f"seed{seed}" for seed in seeds])
    head = (
        f"{args.data}: {len(seeds)} seeds, {first['iterations']} iterations in {_minutes(chosen)} CPU minutes, "
        f"{first['size'][0]}x{first['size'][1]} pixels; {first['images'][0]} images for the gate, "
        f"{first['images'][1]} for testing; quality: {MEASURE[args.data]}. The gate's features predict the gain from "
        f"first to last exit, R2 on test images: {r2}"
    )
    head += "" if agreed is None else f"; two parents' gains of an image correlate by {agreed:.2f}"
    notes = (
        "Points, mean +- sd over seeds. over random: same shares of exits, drawn blindly; over fixed: neighboring "
        "exits mixed to the same cost; error: standard error over test images of one seed. Below, share: of the "
        "deepest exit's multiply-accumulates, with and without sampling; time share: of its time in the same round."
    )
    print(head)
    text = head + "\n\n" + _common.print_table(rows) + f"\n\n{notes}\n\n" + _common.print_table(exits)
    if args.picture:
        draw(Path(args.work), args.picture)
    if not args.no_record:
        _common.record(text, args.quick)
    _common.result(data=args.data, **values)


def _minutes(seeds: list[dict]) -> str:
    """Return the training time of the seeds that were not interrupted."""
    return " / ".join("?" if seed["cpu_minutes"] is None else f"{seed['cpu_minutes']:.1f}" for seed in seeds)


if __name__ == "__main__":
    main()
