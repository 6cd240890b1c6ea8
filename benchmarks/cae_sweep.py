"""Settings of a CAE config on CIFAR-10, compared on training images alone: one epoch each, then probes.

    python benchmarks/cae_sweep.py cae_vit_cifar10_hog_cpu model.alignment_weight=0.0 model.alignment_weight=0.2
    python benchmarks/cae_sweep.py cae_vit_cifar10_norm_pixel_cpu model.alignment_weight=2.0 \\
        optim_wrapper.optimizer.lr=1e-3,train_dataloader.batch_size=32 --untrained

Each argument after the config is one run; its options are separated by commas. The probes have 4,000 training images,
and are compared on 1,000 other training images (the standard error of an accuracy is 1.5 points), so that the test
images and the seeds of cae_probe.py are not used to choose settings.

Needs VISLAB_DATA with cifar10_subset.zip and weights/. Runs are kept in work_dirs/cae_sweep/ and are not repeated.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import _common
from _cae_runs import BASE, ROOT, WARNING, config_path
from mmengine.config import Config

WORK_DIR = ROOT / "work_dirs" / "cae_sweep"
COUNT = 20000  # training images
FIGURES = ("linear_mean", "linear_class", "knn_mean_k20", "knn_class_k20")


def parts(count: int) -> Config:
    """Return the config of the data: a fifth of `count` evenly spaced training images, and a twentieth, others."""
    from vislab.apis.build import load

    step = COUNT // count
    cfg = load(config_path(BASE), {"train_dataloader.dataset.indices": list(range(0, COUNT, 5 * step))})
    cfg.val_dataloader.dataset.update(
        split=cfg.train_dataloader.dataset.split, indices=list(range(2, COUNT, 20 * step))
    )
    return cfg


def train(name: str, options: str, folder: Path, seed: int, epochs: int, images: int) -> tuple[Path, str]:
    """Train a config with options, separated by commas; return its last checkpoint and its log."""
    lengths = [f"train_cfg.max_epochs={epochs}", f"train_cfg.val_interval={epochs + 1}"]
    lengths += [f"train_dataloader.dataset.indices={images}"]
    command = [sys.executable, str(ROOT / "tools/train.py"), config_path(name), "--work-dir", str(folder)]
    command += ["--seed", str(seed), "--cfg-options", *lengths, "default_hooks.checkpoint.interval=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *options.split(",")], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}: {done.stderr[-1000:]}")
    return folder / f"epoch_{epochs}.pth", "".join(path.read_text() for path in folder.glob("*/*.log"))


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("config", help="name of a config of configs/cae")
    parser.add_argument("runs", nargs="+", metavar="KEY=VALUE,...", help="options of a run")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--untrained", action="store_true", help="probe the initial weights of the first run, too")
    args = parser.parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with cifar10_subset.zip and weights")
    import torch

    from vislab.apis import probe
    from vislab.cli import parse_cfg_options

    torch.set_num_threads(args.threads)
    rows, count = [], 1000 if args.quick else COUNT
    for options in [*args.runs[:1] * args.untrained, *args.runs]:
        trained = len(rows) >= args.untrained
        label = f"{args.config},{options},seed{args.seed},{args.epochs if trained else 0}ep".replace("/", "_")
        store = WORK_DIR / f"{label}.json"
        if not store.exists() or args.quick:
            checkpoint, log = None, ""
            if trained:
                checkpoint, log = train(args.config, options, WORK_DIR / label, args.seed, args.epochs, count)
            model = {key: v for key, v in parse_cfg_options(options.split(",")).items() if key.startswith("model.")}
            found = probe(
                config_path(args.config), checkpoint, data=parts(count), size=32,
                seeds=(args.seed,), device="cpu", work_dir=WORK_DIR / label, cfg_options=model,
            )  # fmt: skip
            values = {key: found[f"probe/{key}"] for key in FIGURES}
            store.write_text(json.dumps(values | {"warned": WARNING in log}))
        values = json.loads(store.read_text())
        row = {"run": options if trained else f"{options}, untrained"}
        rows.append(row | {key: f"{values[key]:.1f}" for key in FIGURES} | {"warned": str(values["warned"])})
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"{args.config}, seed {args.seed}, {args.epochs} epochs\n\n{table}", args.quick)
    _common.result(best=max(float(row["linear_mean"]) for row in rows), runs=len(rows))


if __name__ == "__main__":
    main()
