"""Write a starting config for your own data from what a folder contains: classes, sizes, splits, odd files.

    vislab new semantic --data /data/roads                  # writes my_semantic.py
    vislab new rotated --data /data/ships --out ships.py

Tasks: classification, semantic, depth, instance, panoptic, detection, rotated. The config is checked, and images of
both sets are read; what is odd is printed. docs/own_data.md shows the folders.
"""

import argparse

from vislab.cli import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", help="what to predict")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder with images and labels")
    parser.add_argument("--out", metavar="FILE", help="path of the config (default my_TASK.py)")
    parser.add_argument(
        "--weights",
        default="timm",
        metavar="FILE",
        help="weights of the encoder: timm for those of ImageNet (downloaded once; default), none, or a file",
    )


def main(args: argparse.Namespace) -> None:
    from vislab.apis.new_config import new_config

    out = args.out or f"my_{args.task}.py"
    weights = {"timm": True, "none": False}.get(args.weights, args.weights)
    for note in new_config(args.task, args.data, out, weights=weights):
        print(f"- {note}")
    print(f"wrote {out}; train with:\n    {command('train')} {out}")
