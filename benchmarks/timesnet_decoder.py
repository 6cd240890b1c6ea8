"""Is a pre-trained model good as a decoder? timesNet with a pre-trained or a random decoder, three mixes, and an FPN.

    python benchmarks/timesnet_decoder.py             # about 40 minutes on two free cores; goes on where it was stopped
    python benchmarks/timesnet_decoder.py --quick     # under two minutes: a few steps, one seed, no conclusion

EfficientNet-Lite0 with ImageNet weights is the encoder everywhere. All variants see the same batches of one seed and
make the same number of steps. New parts learn at the full rate, pre-trained parts at half of it; a random decoder is
a new part, so it gets the full rate. Images are decoded once and
kept small in memory, so that the time goes into the networks.

Needs VISLAB_DATA with rgbd_kitchen, camvid and weights/. Results of each run are appended to
work_dirs/timesnet_decoder/runs_full.json; curves and pictures go to docs/.
"""

import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path

import _common

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
SIZE = (96, 128)
BATCH = 8
# of new parts, and the shares of it that pre-trained parts and the output's Re-Shapes get. The latter was chosen in 60
# steps on camvid, seed 0, for the pre-trained decoder: at 1 timesNet learns far slower than the FPN, whose summed
# stages make its last layer fast
LR, SLOW, OUTPUT = 1e-3, 0.5, 5.0
SETTINGS = {  # number of steps, when to evaluate, seeds, evaluated images
    "full": {"steps": 150, "every": 50, "seeds": (0, 1, 2), "images": None},
    "quick": {"steps": 4, "every": 4, "seeds": (0,), "images": 4},
}
VARIANTS = {  # name: (decoder weights, mix)
    "pre-trained x multiply": (True, "multiply"),
    "pre-trained x image": (True, "image"),
    "pre-trained x feature": (True, "feature"),
    "random x multiply": (False, "multiply"),
    "random x image": (False, "image"),
    "random x feature": (False, "feature"),
    "FPN": (None, None),
}
TASKS = {"kitchen": ("abs_rel", "rmse", "d1"), "camvid": ("mIoU", "mAcc", "aAcc")}


def build(task: str, variant: str):
    """The model of one variant, and the optimizer's rules for it."""
    from vislab.models.dense import DepthEstimator, SemanticSegmentor

    pretrained, mix = VARIANTS[variant]
    encoder = {"name": "tf_efficientnet_lite0", "pretrained": WEIGHTS}
    if mix is None:
        network, slow = {"type": "FPNNetwork", "encoder": encoder}, ["network.encoder"]
    else:
        decoder = {"name": "tf_efficientnet_lite0", "pretrained": WEIGHTS if pretrained else False}
        network = {"type": "TimesNet", "encoder": encoder, "decoder": decoder, "mix": mix, "pyramid_width": 32}
        slow = ["network.encoder"] * (mix != "image") + ["network.decoder"] * bool(pretrained)
    fast = [] if mix is None else ["network.to_finest", "network.reshape_out"]
    rules = {"layer_decay": 1.0, "lr_mult": dict.fromkeys(slow, SLOW) | dict.fromkeys(fast, OUTPUT)}
    if task == "kitchen":
        return DepthEstimator(network=network, max_depth=5.0), rules
    return SemanticSegmentor(network=network, num_classes=11), rules


def datasets(task: str, images: int | None):
    """Train and test sets with the project's datasets and transforms, images read once and kept at a small size."""
    from vislab.datasets.rgbd import RGBDFolder
    from vislab.datasets.semantic import CamVid
    from vislab.datasets.transforms import (
        ColorJitter,
        LoadDepth,
        LoadImage,
        LoadSemSeg,
        PackInputs,
        RandomCrop,
        RandomFlip,
        Resize,
    )

    if task == "kitchen":
        load = [LoadImage(min_size=32), LoadDepth(invalid=(0, 65535))]
        make = lambda train, n: RGBDFolder(
            data_root="$VISLAB_DATA/rgbd_kitchen", frames=(0, 160) if train else (160, None), indices=n
        )
    else:
        load = [LoadImage(min_size=32), LoadSemSeg()]
        make = lambda train, n: CamVid(
            data_root="$VISLAB_DATA/camvid", ann_file="train.txt" if train else "val.txt", indices=n
        )
    larger = (round(SIZE[0] * 1.25), round(SIZE[1] * 1.25))
    augment = [RandomCrop(size=SIZE), RandomFlip(), ColorJitter(), PackInputs()]
    train = [_run([*load, Resize(size=larger)], record) for record in _records(make(True, images))]
    # test labels keep their own size, as the protocol asks
    test_steps = [load[0], Resize(size=SIZE), load[1], PackInputs()]
    test_set = make(False, images)
    test = [_run(test_steps, record) for record in _records(test_set)]
    return train, augment, test, test_set.metainfo


def _records(dataset) -> list[dict]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def _run(steps, results):
    for step in steps:
        results = step(results)
    return results


def train_once(job: tuple[str, str, int, dict, bool]) -> dict:
    """One run: the metrics at each evaluation, and seconds of wall and CPU."""
    task, variant, seed, setting, picture = job
    import numpy as np
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.logging import MMLogger

    import vislab.systems.timesnet  # noqa: F401  registers TimesNet
    from vislab.datasets.base import seeded
    from vislab.engine.layer_decay import LayerDecayOptimConstructor
    from vislab.engine.schedulers import WarmupCosineLR
    from vislab.registry import MODELS

    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(seed)
    with MODELS.switch_scope_and_registry("vislab"):
        model, rules = build(task, variant)
    train, augment, test, metainfo = datasets(task, setting["images"])
    wrapper = LayerDecayOptimConstructor(
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": LR, "weight_decay": 0.05},
            "clip_grad": {"max_norm": 10.0},
        },
        rules,
    )(model)
    schedule = WarmupCosineLR(wrapper.optimizer, warmup=0.1, by_epoch=False, end=setting["steps"])
    order = np.random.default_rng(seed)
    began, cpu, history, losses = time.perf_counter(), time.process_time(), [], []
    for step in range(setting["steps"]):
        model.train()
        chosen = order.choice(len(train), BATCH, replace=len(train) < BATCH)
        batch = []
        for place, index in enumerate(chosen):
            with seeded(1_000_003 * seed + BATCH * step + place):
                batch.append(_run(augment, dict(train[index])))
        data = model.data_preprocessor(pseudo_collate(batch), True)
        total, _ = model.parse_losses(model(**data, mode="loss"))
        wrapper.update_params(total)
        schedule.step()
        losses.append(total.item())
        if (step + 1) % setting["every"] == 0:
            history.append({"step": step + 1, **evaluate(task, model, test, metainfo)})
    if picture:
        _pictures(task, variant, model, test)
    return {
        "task": task,
        "variant": variant,
        "seed": seed,
        "steps": setting["steps"],
        "history": history,
        "loss": [round(x, 4) for x in losses],
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


def evaluate(task: str, model, test: list[dict], metainfo: dict) -> dict[str, float]:
    """The task's metrics at the labels' own size."""
    import torch
    from mmengine.dataset import pseudo_collate

    from vislab.evaluation.depth import DepthMetric
    from vislab.evaluation.semantic import SemSegMetric

    metric = DepthMetric(max_depth=5.0) if task == "kitchen" else SemSegMetric()
    metric.dataset_meta = metainfo
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(test), BATCH):
            batch = pseudo_collate(
                [{**item, "data_samples": item["data_samples"].clone()} for item in test[start : start + BATCH]]
            )
            data = model.data_preprocessor(batch, False)
            metric.process({}, [sample.to_dict() for sample in model(**data, mode="predict")])
    found = metric.compute_metrics(metric.results)
    return {name: found[name] for name in TASKS[task]}


def _pictures(task: str, variant: str, model, test: list[dict]) -> None:
    """Predictions of three test images, kept as an array for the sheet that `draw_sheet` puts together."""
    import numpy as np
    import torch
    from mmengine.dataset import pseudo_collate

    folder = work_dir()
    items = [test[i] for i in np.linspace(0, len(test) - 1, 3).astype(int)]
    batch = pseudo_collate([{**item, "data_samples": item["data_samples"].clone()} for item in items])
    with torch.inference_mode():
        samples = model.eval()(**model.data_preprocessor(batch, False), mode="predict")
    field = "depth" if task == "kitchen" else "sem_seg"
    np.savez_compressed(
        folder / f"{task}_{variant.replace(' ', '_')}.npz",
        images=np.stack([item["inputs"].permute(1, 2, 0).numpy() for item in items]),
        labels=np.stack([s.get(f"gt_{field}").data[0].numpy() for s in samples]),
        predictions=np.stack([s.get(f"pred_{field}").data[0].numpy() for s in samples]),
    )


def work_dir() -> Path:
    folder = ROOT / "work_dirs" / "timesnet_decoder"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def draw_curves(runs: list[dict], path: Path) -> None:
    """Mean and range over seeds of the first metric against the step, and the training loss."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for axis, (task, names) in zip(axes, TASKS.items(), strict=True):
        for k, variant in enumerate(VARIANTS):
            mine = [r for r in runs if (r["task"], r["variant"]) == (task, variant)]
            if not mine:
                continue
            steps = [h["step"] for h in mine[0]["history"]]
            values = [[h[names[0]] for h in r["history"]] for r in mine]
            low, high = (list(map(f, zip(*values, strict=True))) for f in (min, max))
            mean = [statistics.mean(v) for v in zip(*values, strict=True)]
            style = "--" if variant.startswith("random") else ":" if variant == "FPN" else "-"
            (line,) = axis.plot(steps, mean, style, color=f"C{k % 3}" if variant != "FPN" else "k", label=variant)
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(xlabel="step", ylabel=names[0], title=task)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_sheet(task: str, path: Path) -> None:
    """Image, label and the predictions of all variants, three rows."""
    import cv2
    import numpy as np

    from vislab.datasets.semantic_classes import CAMVID_PALETTE
    from vislab.visualization import draw

    files = {v: work_dir() / f"{task}_{v.replace(' ', '_')}.npz" for v in VARIANTS}
    found = {variant: np.load(file) for variant, file in files.items() if file.exists()}
    if not found:
        return
    palette = np.array([*CAMVID_PALETTE, *[(0, 0, 0)] * 245], np.uint8)
    first = next(iter(found.values()))
    rows = []
    for i in range(len(first["images"])):
        limits = draw.depth_limits(first["labels"][i]) if task == "kitchen" else None
        paint = lambda m, limits=limits: draw.draw_depth(m, limits) if task == "kitchen" else palette[m]
        cells = [("image", first["images"][i]), ("label", paint(first["labels"][i]))]
        cells += [(variant, paint(data["predictions"][i])) for variant, data in found.items()]
        rows.append([(title, cv2.resize(np.ascontiguousarray(cell), (192, 144))) for title, cell in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw.tile(rows)[..., ::-1])


def table(runs: list[dict]) -> list[dict]:
    rows = []
    for variant in VARIANTS:
        row: dict[str, object] = {"decoder x mix": variant}
        for task, names in TASKS.items():
            last = [r["history"][-1] for r in runs if (r["task"], r["variant"]) == (task, variant)]
            for name in names if last else ():
                values = [h[name] for h in last]
                spread = f" +- {statistics.stdev(values):.3g}" if len(values) > 1 else ""
                row[f"{task} {name}"] = f"{statistics.mean(values):.4g}{spread}"
        seconds = [r["cpu"] for r in runs if r["variant"] == variant]
        row["cpu s a run"] = f"{statistics.mean(seconds):.0f}" if seconds else ""
        rows.append(row)
    return rows


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default 2)")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with rgbd_kitchen, camvid and weights")
    form = "quick" if args.quick else "full"
    setting = SETTINGS[form]
    store = work_dir() / f"runs_{form}.json"
    runs = json.loads(store.read_text()) if store.exists() and not args.quick else []
    done = {(r["task"], r["variant"], r["seed"]) for r in runs if r["steps"] == setting["steps"]}
    jobs = [
        (task, variant, seed, setting, seed == 0)
        for seed in setting["seeds"]  # a whole round of variants first: an interrupted run still compares
        for task in TASKS
        for variant in VARIANTS
        if (task, variant, seed) not in done
    ]
    print(f"{len(done)} runs done, {len(jobs)} to go, {setting['steps']} steps of {BATCH} images {SIZE[0]}x{SIZE[1]}")
    with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=7) as pool:
        for run in pool.imap_unordered(train_once, jobs):
            runs.append(run)
            store.with_suffix(".tmp").write_text(json.dumps(runs))
            store.with_suffix(".tmp").replace(store)
            last = " ".join(f"{k}={v:.4g}" for k, v in run["history"][-1].items())
            print(f"{run['task']}, {run['variant']}, seed {run['seed']}: {last} ({run['seconds']:.0f} s)", flush=True)
    text = _common.print_table(table(runs))
    docs = work_dir() if args.quick else ROOT / "docs"
    draw_curves(runs, docs / "timesnet_decoder.png")
    for task in TASKS:
        draw_sheet(task, docs / f"timesnet_decoder_{task}.jpg")
    if not args.no_record:
        note = f"{setting['steps']} steps of {BATCH} images {SIZE[0]}x{SIZE[1]}, {len(setting['seeds'])} seeds"
        _common.record(f"{note}\n\n{text}", args.quick)
    ends = {}
    for task, name, key in (("kitchen", "abs_rel", "absrel"), ("camvid", "mIoU", "miou")):
        for variant, short in (("pre-trained x multiply", "pre"), ("random x multiply", "random"), ("FPN", "fpn")):
            last = [r["history"][-1][name] for r in runs if (r["task"], r["variant"]) == (task, variant)]
            ends[f"{key}_{short}"] = statistics.mean(last)
    _common.result(**ends)


if __name__ == "__main__":
    main()
