"""TrAct compared to plain training on CIFAR-10, in paired runs: accuracy at equal epochs, epochs to equal accuracy.

    python benchmarks/tract_cifar.py                 24 runs, about 25 minutes on two idle cores
    python benchmarks/tract_cifar.py --quick         8 short runs of one seed, under two minutes
    python benchmarks/tract_cifar.py --data FOLDER   default: $VISLAB_DATA

{ResNet-18 with one eighth of the width, ViT with 4 layers and width 96} x {SGD, Adam}, three seeds, 10,240 training and
2,500 test images downsampled to 16 pixels, 12 epochs. The two runs of a pair share initial weights, order of images and
augmentation; both use the learning rates of the plain run. Classifier, dataset, augmentation and update are those of
vislab, with a plain training loop, since the data loader would dominate at this image size. Completed runs are stored
in work_dirs/tract_cifar/, and an interrupted benchmark continues. The curves are drawn to docs/tract_cifar.png.
"""

import json
import os
import statistics
import time
from pathlib import Path

import _common

FOLDER = Path(__file__).parents[1]
SIDE = 16
NETWORKS = {
    "ResNet-18/8": {
        "name": "resnet18",
        "stem": "cifar",
        "model_args": {"zero_init_last": False, "channels": (8, 16, 32, 64)},
    },
    "ViT-4/96": {
        "name": "vit_small_patch16_224",
        "img_size": SIDE,
        "model_args": {"patch_size": 4, "depth": 4, "num_heads": 3, "embed_dim": 96, "mlp_ratio": 2},
    },
}
RATES = {
    ("ResNet-18/8", "SGD"): 0.08,
    ("ResNet-18/8", "Adam"): 1e-2,
    ("ViT-4/96", "SGD"): 0.05,
    ("ViT-4/96", "Adam"): 1e-3,
}
SMOOTHING = {"ResNet-18/8": 0.0, "ViT-4/96": 0.1}
FULL = {"images": 10240, "test": 2500, "epochs": 12, "seeds": 3, "lam": 0.1}
QUICK = {"images": 1280, "test": 500, "epochs": 2, "seeds": 1, "lam": 0.1}
BATCH = 128


def load(data: str, split: str, count: int):
    """Return uint8 images (N, 3, SIDE, SIDE) and labels (N,), balanced over the classes."""
    import torch

    from vislab.datasets.image_folder import ImageFolder
    from vislab.datasets.transforms import LoadImage, PackInputs

    path = os.path.join(data, "cifar10_subset.zip")
    total = {"train": 20000, "test": 5000}[split]
    dataset = ImageFolder(
        data_root=path, split=f"cifar10/{split}", cache=True, indices=[i * total // count for i in range(count)],
        pipeline=[LoadImage(), PackInputs()],
    )  # fmt: skip
    items = [dataset[i] for i in range(len(dataset))]
    images = torch.nn.functional.avg_pool2d(torch.stack([i["inputs"] for i in items]).float(), 32 // SIDE)
    return images.round().byte(), torch.cat([i["data_samples"].gt_label.label for i in items])


def train(network: str, kind: str, tract: bool, seed: int, form: dict, train_set, test_set) -> dict:
    """Train one model; returns accuracy (%) and mean loss of each epoch, and seconds without evaluation."""
    import torch
    from mmengine.structures import LabelData

    from vislab.losses import CrossEntropy
    from vislab.models.batch_augment import RandomShiftFlip
    from vislab.models.classifier import ImageClassifier
    from vislab.models.preprocessor import ImagePreprocessor
    from vislab.structures import DataSample
    from vislab.systems.tract import apply_tract

    torch.manual_seed(seed)
    model = ImageClassifier(
        **NETWORKS[network],
        num_classes=10,
        loss=CrossEntropy(label_smoothing=SMOOTHING[network]),
        data_preprocessor=ImagePreprocessor(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    )
    model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    if tract:
        apply_tract(model, lam=form["lam"])
    lr = RATES[network, kind]
    chosen = {"SGD": (torch.optim.SGD, {"momentum": 0.9}), "Adam": (torch.optim.Adam, {})}[kind]
    optimizer = chosen[0](model.parameters(), lr=lr, **chosen[1])
    images, labels = train_set
    per_epoch = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, form["epochs"] * per_epoch)
    augment, prepare = RandomShiftFlip(padding=2), model.data_preprocessor
    samples = [DataSample(gt_label=LabelData(label=label[None])) for label in labels]
    torch.manual_seed(1000 + seed)  # order and augmentation
    accuracy, losses, seconds = [], [], 0.0
    for _ in range(form["epochs"]):
        began, total = time.perf_counter(), 0.0
        model.train()
        for batch in torch.randperm(len(images)).split(BATCH)[:per_epoch]:
            inputs, _ = augment(prepare({"inputs": images[batch]})["inputs"])
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            loss = model(inputs, [samples[i] for i in batch.tolist()], mode="loss")["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds += time.perf_counter() - began
        losses.append(total / per_epoch)
        model.eval()
        with torch.inference_mode():
            right = sum(
                (model.network(prepare({"inputs": part})["inputs"]).argmax(1) == target).sum().item()
                for part, target in zip(test_set[0].split(500), test_set[1].split(500), strict=True)
            )
        accuracy.append(100 * right / len(test_set[0]))
    return {"accuracy": accuracy, "loss": losses, "seconds": seconds}


def epochs_to(curve: list[float], goal: float) -> int | None:
    return next((i + 1 for i, value in enumerate(curve) if value >= goal), None)


def summarize(runs: dict, form: dict) -> list[dict]:
    """Return one row per network and optimizer with mean and standard deviation over seeds, and paired differences."""

    def text(values: list[float]) -> str:
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.2f} +- {spread:.2f}"

    rows = []
    for network, kind in RATES:
        pairs = [
            (runs[f"{network} {kind} plain {s}"], runs[f"{network} {kind} TrAct {s}"]) for s in range(form["seeds"])
        ]
        half = form["epochs"] // 2 - 1
        reached = [epochs_to(t["accuracy"], p["accuracy"][-1]) for p, t in pairs]
        rows.append(
            {
                "network": network,
                "optimizer": kind,
                "plain": text([p["accuracy"][-1] for p, _ in pairs]),
                "TrAct": text([t["accuracy"][-1] for _, t in pairs]),
                "difference": text([t["accuracy"][-1] - p["accuracy"][-1] for p, t in pairs]),
                f"difference at epoch {half + 1}": text([t["accuracy"][half] - p["accuracy"][half] for p, t in pairs]),
                "epochs to plain's end": "/".join("-" if r is None else str(r) for r in reached)
                + f" of {form['epochs']}",
                "time": f"{sum(t['seconds'] for _, t in pairs) / sum(p['seconds'] for p, _ in pairs):.3f}",
            }
        )
    return rows


def draw(runs: dict, form: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(RATES), figsize=(4 * len(RATES), 6), sharex=True)
    epochs = range(1, form["epochs"] + 1)
    for column, (network, kind) in enumerate(RATES):
        for row, quantity in enumerate(("accuracy", "loss")):
            for name, color in (("plain", "tab:gray"), ("TrAct", "tab:red")):
                curves = [runs[f"{network} {kind} {name} {s}"][quantity] for s in range(form["seeds"])]
                for curve in curves:
                    axes[row, column].plot(epochs, curve, color=color, alpha=0.3, linewidth=0.8)
                axes[row, column].plot(
                    epochs, [statistics.mean(v) for v in zip(*curves, strict=True)], color=color, label=name
                )
            axes[row, 0].set_ylabel("test accuracy (%)" if quantity == "accuracy" else "training loss")
        axes[0, column].set_title(f"{network}, {kind}")
        axes[1, column].set_xlabel("epoch")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--data", default=os.environ.get("VISLAB_DATA"), help="folder that contains cifar10_subset.zip")
    parser.set_defaults(threads=2)
    args = parser.parse_args()
    if not args.data:
        _common.skip("--data FOLDER or VISLAB_DATA, the folder of cifar10_subset.zip")
    import torch

    torch.set_num_threads(args.threads)
    form = QUICK if args.quick else FULL
    store = FOLDER / "work_dirs" / "tract_cifar" / ("quick.json" if args.quick else "full.json")
    store.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(store.read_text()) if store.exists() else {}
    settings = form | {"rates": [[*key, lr] for key, lr in RATES.items()]}
    runs = kept["runs"] if kept.get("settings") == settings else {}
    sets = [load(args.data, "train", form["images"]), load(args.data, "test", form["test"])]
    for seed in range(form["seeds"]):
        for network, kind in RATES:
            for tract in (False, True):
                key = f"{network} {kind} {'TrAct' if tract else 'plain'} {seed}"
                if key not in runs:
                    runs[key] = train(network, kind, tract, seed, form, *sets)
                    partial = store.with_suffix(".tmp")
                    partial.write_text(json.dumps({"settings": settings, "runs": runs}))
                    os.replace(partial, store)
                run = runs[key]
                print(
                    f"{key}: {run['accuracy'][-1]:.2f} %, loss {run['loss'][-1]:.3f}, {run['seconds']:.0f} s",
                    flush=True,
                )
    rows = summarize(runs, form)
    table = _common.print_table(rows)
    if not args.no_record:
        head = (
            f"{form['images']} images, {form['epochs']} epochs, batch {BATCH}, {form['seeds']} seeds, lam {form['lam']}"
        )
        _common.record(f"{head}; accuracy in %, mean +- sd; time: TrAct / plain\n\n{table}", args.quick)
    if not args.quick:
        draw(runs, form, FOLDER / "docs" / "tract_cifar.png")
    _common.result(
        **{f"{r['network']}_{r['optimizer']}".replace("/", "_"): r["difference"].split()[0] for r in rows},
        runs=len(runs),
    )


if __name__ == "__main__":
    main()
