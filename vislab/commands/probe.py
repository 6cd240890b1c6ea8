"""Evaluate an encoder by classifiers on its frozen features.

    vislab probe CONFIG CKPT --data $VISLAB_DATA/cifar10_subset.zip --kind knn linear
    vislab probe vit_small_patch16_224 FILE.safetensors --data data/imagenet --crop 0.875 --kind efficient
    vislab probe pixels --data $VISLAB_DATA/cifar10_subset.zip --size 32

The encoder is that of any config of this project (its classifier, backbone, ...) or a timm model. The protocol is
printed with the figures, which are added to WORK_DIR/metrics.json. Features are cached in WORK_DIR/features.
"""

import argparse
import sys

from vislab.cli import add_cfg_options, format_metrics, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "encoder",
        metavar="CONFIG|TIMM_NAME",
        help='config file, name of a shipped config or of a timm model, or "pixels"',
    )
    parser.add_argument("checkpoint", nargs="?", help="weights (default: initial weights, or those of timm)")
    parser.add_argument(
        "--data", required=True, help="folder or .zip file with class folders in train and val, or config"
    )
    parser.add_argument(
        "--kind", nargs="+", default=["knn", "linear"], choices=["knn", "linear", "attentive", "efficient"]
    )
    parser.add_argument("--feature", default="all", choices=["all", "class", "mean"], help="for knn and linear")
    parser.add_argument("--layer", type=int, help="block whose output is used (default: final output)")
    parser.add_argument("--part", help="name of the encoder in the model (default: the first one found)")
    parser.add_argument("--random", action="store_true", help="random weights of a timm model")
    parser.add_argument("--size", type=int, help="side of the images (default: that of the encoder)")
    parser.add_argument("--crop", type=float, default=1.0, help="part of the short side to keep (default 1.0)")
    parser.add_argument(
        "--splits", nargs=2, metavar=("TRAIN", "TEST"), help="folders in DATA (default: train, val or test)"
    )
    parser.add_argument("--train", type=int, metavar="N", help="number of training images (default: all)")
    parser.add_argument("--test", type=int, metavar="N", help="number of test images (default: all)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or several seeds")
    parser.add_argument("--epochs", type=int, default=15, help="of the attentive and efficient probes (default 15)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--num-workers", type=int, default=0)
    parser.add_argument("--device", help="device such as cpu or cuda:0 (default: a GPU if available)")
    parser.add_argument("--work-dir", help="folder for metrics.json (default: work_dirs/<name>)")
    parser.add_argument("--cache-dir", help="folder for features (default: WORK_DIR/features)")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab import apis

    options = {k: v for k, v in vars(args).items() if k not in ("encoder", "checkpoint", "seed", "cfg_options")}
    metrics = apis.probe(
        args.encoder,
        args.checkpoint,
        **options,
        seeds=args.seed,
        cfg_options=parse_cfg_options(args.cfg_options),
        progress=show if sys.stderr.isatty() else None,
    )
    print(metrics.pop("protocol"))
    print(format_metrics(metrics))


def show(which: str, done: int, total: int) -> None:
    print(f"\r{which}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr)
