"""ECO-M2F's saving, measured: quality against cost for fixed exits, gate, random choice in the same shares, oracle.

    python benchmarks/eco_frontier.py [--data scenes|coco_panoptic|camvid] [--seeds 0 1 2] [--quick]

For each seed: step A trains the parent of configs/eco_m2f/eco_m2f_lite0_<data>_cpu.py, step B derives qualities of
training and test images, step C fits a gate for every beta. Then the time of each exit, batches of 1 and 8, beside its
multiply-accumulates. What is finished is kept in WORK/<data>/results.json, and an interrupted run goes on (training
from its checkpoint, step B from its file). The claim: the gate lies above random choice of the same mean cost.

Needs VISLAB_DATA for the ImageNet weights, unless --weights gives them. Full form: about half an hour on two cores.
"""

import json
import os
import statistics
from pathlib import Path

import _common

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "eco_m2f"
FILES = {"scenes": "scenes", "coco_panoptic": "coco-panoptic", "camvid": "camvid"}
MEASURE = {"scenes": "pq", "coco_panoptic": "pq", "camvid": "miou"}
ITERATIONS = {"scenes": 1500, "coco_panoptic": 600, "camvid": 500}
BETAS = (0.0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05)


def config_of(args):
    """The config's path, and the changes to it."""
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
    """Test-time batches of training images and of test images."""
    from vislab.engine.runner import Runner

    found = []
    for split in ("train", "test"):
        section = cfg.test_dataloader.to_dict()
        dataset = section["dataset"]
        if split == "train":
            source = cfg.train_dataloader.dataset.to_dict()
            dataset |= {key: source[key] for key in ("seed", "ann_file", "data_prefix") if key in source}
        if "length" in dataset:
            dataset["length"] = 24 if quick else (600 if split == "train" else 300)
        elif quick:
            dataset["indices"] = 8
        found.append(Runner.build_dataloader(section | {"num_workers": 0}, seed=0))
    return found


def run_seed(args, seed: int, work: Path) -> dict:
    """Steps A, B and C of one seed."""
    import torch
    from mmengine.registry import init_default_scope

    from vislab.apis import train
    from vislab.apis.build import build_model, load
    from vislab.engine.checkpoint import find_latest_checkpoint
    from vislab.systems.eco_m2f import derive, exit_costs, frontier

    config, options = config_of(args)
    metrics = train(config, work_dir=work, resume=True, seed=seed, cfg_options=options)
    cfg = load(config, options)
    init_default_scope("vislab")
    model = build_model(cfg, str(find_latest_checkpoint(str(work))), device="cpu")
    torch.set_num_threads(args.threads)
    measure = MEASURE[args.data]
    train_batches, test_batches = loaders(cfg, args.quick)
    learned = derive(model, train_batches, work / "train.npz", measure=measure)
    tested = derive(model, test_batches, work / "test.npz", measure=measure)
    size = next(iter(test_batches))["inputs"][0].shape[-2:]
    size = tuple(-(-n // 32) * 32 for n in size)
    costs = exit_costs(model, *size, model.exits)
    rows = frontier(learned, tested, BETAS, costs=costs)
    return {"metrics": metrics, "rows": rows, "costs": costs, "times": times(model, size, args.quick), "size": size}


def times(model, size: tuple[int, int], quick: bool) -> dict:
    """Median seconds an image of each exit, as {batch: {exit: seconds}}."""
    import torch

    found = {}
    for batch in (1, 8):
        images = torch.rand(batch, 3, *size)

        def run(k: int, images=images):
            with torch.inference_mode():
                model(images, exit=k)

        timed = _common.interleave(
            {str(k): lambda k=k: run(k) for k in model.exits}, pairs=3 if quick else 15, warmup=2
        )
        found[batch] = {k: statistics.median(t["wall"]) / batch for k, t in timed.items()}
    return found


def summarise(results: dict) -> tuple[list[dict], list[dict], dict]:
    """Tables over seeds: policies, exits; and the RESULT values."""
    seeds = list(results.values())
    rows, gains = [], []
    key = "set_quality" if "set_quality" in seeds[0]["rows"][0] else "quality"
    for i, first in enumerate(seeds[0]["rows"]):
        same = [seed["rows"][i] for seed in seeds]
        row = {"policy": first["policy"], "beta": first.get("beta", "")}
        for name in ("depth", "cost", "quality", key):
            row[name] = _mean(same, name)
        if first["policy"] == "gate":
            for name in dict.fromkeys(("quality", key)):
                differences = [100 * (seed["rows"][i][name] - seed["rows"][i + 1][name]) for seed in seeds]
                spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
                row[f"{name} over random, points"] = f"{statistics.mean(differences):+.2f} +- {spread:.2f}"
                if name == "quality":
                    gains.append(statistics.mean(differences))
        rows.append(row)
    exits = []
    deepest = max(seeds[0]["costs"], key=int)
    for k in seeds[0]["costs"]:
        row = {"exit": k, "GMAC": f"{seeds[0]['costs'][k]:.3f}", "GMAC share": _share(seeds[0]["costs"], k, deepest)}
        for batch, timed in seeds[-1]["times"].items():
            row[f"ms at {batch}"] = f"{1e3 * timed[k]:.2f}"
            row[f"time share at {batch}"] = _share(timed, k, deepest)
        exits.append(row)
    return rows, exits, {"best_gain_points": max(gains), "worst_gain_points": min(gains), "seeds": len(seeds)}


def _mean(rows: list[dict], name: str) -> str:
    values = [row[name] for row in rows]
    return f"{statistics.mean(values):.4f}" + (f" +- {statistics.stdev(values):.4f}" if len(values) > 1 else "")


def _share(values: dict, key: str, whole: str) -> str:
    return f"{values[key] / values[whole]:.3f}"


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--data", choices=FILES, default="scenes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, help="of step A; default by --data")
    parser.add_argument("--weights", help="EfficientNet-Lite0's ImageNet weights; default: below VISLAB_DATA")
    parser.add_argument("--work", default="work_dirs/eco_frontier")
    args = parser.parse_args()
    if not args.weights and not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA or --weights, EfficientNet-Lite0's ImageNet weights")
    seeds = args.seeds[:1] if args.quick else args.seeds
    folder = Path(args.work, args.data + ("_quick" if args.quick else ""))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for seed in seeds:
        if str(seed) not in results:
            results[str(seed)] = run_seed(args, seed, folder / f"seed{seed}")
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps(results))
            temporary.replace(file)
            results = json.loads(file.read_text())
    rows, exits, values = summarise({str(seed): results[str(seed)] for seed in seeds})
    first = results[str(seeds[0])]
    head = f"{args.data}, {len(seeds)} seeds, {first['size'][0]}x{first['size'][1]} pixels; parent: {first['metrics']}"
    print(head)
    text = head + "\n\n" + _common.print_table(rows) + "\n\n" + _common.print_table(exits)
    if not args.no_record:
        _common.record(text, args.quick)
    _common.result(data=args.data, **values)


if __name__ == "__main__":
    main()
