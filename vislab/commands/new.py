"""Write a starting config for your own data from what a folder contains: classes, sizes, splits, odd files.

    vislab new semantic --data /data/roads                  # writes my_semantic.py
    vislab new rotated --data /data/ships --out ships.py

Tasks: classification, semantic, depth, instance, panoptic, detection, rotated. The config is checked, and images of
both sets are read; what is odd is printed. docs/own_data.md shows the folders.
"""

import argparse
import importlib.util
import shlex

from vislab.cli import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", help="what to predict")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder with images and labels")
    parser.add_argument("--out", metavar="FILE", help="path of the config (default my_TASK.py)")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights of the encoder: timm (ImageNet, downloaded once), package (those of the extra [weights], the "
        "default if installed), none, or a file",
    )


def find_weights(given: str | None) -> bool | str:
    """Return what `new_config` takes: True for timm's weights, False for none, or a file.

    Raises:
        DataError: The package with the weights is not installed.
    """
    from vislab.apis.small_data import LITE0, prepare
    from vislab.zoo.pretrained import cache_folder

    if given == "package" or (given is None and importlib.util.find_spec(LITE0) is not None):
        return str(prepare("weights", cache_folder()))
    return {None: True, "timm": True, "none": False}.get(given, given)


def main(args: argparse.Namespace) -> None:
    print(f"reading {args.data} ...", flush=True)
    from vislab.apis.new_config import new_config

    out = args.out or f"my_{args.task}.py"
    for note in new_config(args.task, args.data, out, weights=find_weights(args.weights)):
        print(f"- {note}")
    print(f"wrote {out}; train with:\n    {command('train')} {shlex.quote(out)}")
