"""Evaluate a checkpoint on the test set of a config.

    vislab test CONFIG CKPT
    vislab test CONFIG CKPT --out predictions.pkl --show-dir images
    vislab test mask2former_swin_t_coco_panoptic       # weights of the catalogue

Prints the metrics and adds them to WORK_DIR/metrics.json, which keeps the metrics of training.
"""

import argparse
import os

from vislab.cli import add_cfg_options, format_metrics, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file, or name of a shipped config")
    parser.add_argument("checkpoint", nargs="?", help="weights (default: those of the catalogue for a name)")
    parser.add_argument("--out", metavar="F", help="write all predictions to this .pkl file, one dict per image")
    parser.add_argument("--show-dir", metavar="D", help="write images of all predictions to this folder")
    parser.add_argument("--tta", action="store_true", help="use the test-time augmentation of the config")
    parser.add_argument("--work-dir", help="folder for logs and metrics.json (default: work_dirs/<config name>)")
    add_cfg_options(parser)
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def main(args: argparse.Namespace) -> None:
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    from vislab import apis

    metrics = apis.test(
        args.config,
        args.checkpoint,
        out=args.out,
        show_dir=args.show_dir,
        tta=args.tta,
        work_dir=args.work_dir,
        launcher=args.launcher,
        cfg_options=parse_cfg_options(args.cfg_options),
    )
    if int(os.environ.get("RANK", 0)) == 0:
        for what, place in (("images", args.show_dir), ("predictions", args.out)):
            if place:
                print(f"{what}: {place}")
        print(format_metrics(metrics))
