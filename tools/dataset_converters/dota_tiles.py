"""Cut the large images of a split of DOTA, or of another set in its layout, into overlapping tiles with their objects.

    python tools/dataset_converters/dota_tiles.py data/DOTA/train --out data/DOTA_tiles/train    # 1024, overlap 200
    python tools/dataset_converters/dota_tiles.py data/DOTA/train --out data/DOTA_800/train --size 800 --overlap 200
    python tools/dataset_converters/dota_tiles.py data/DOTA/test --out data/DOTA_tiles/test --labels ""    # no labels

Writes images/, labelTxt/ and tiles.json, which says where each tile lies. The folder appears when it is complete; a
stopped run is continued by the same command.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for checkouts that are not installed
from vislab.cli import at_least, run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of a split, with images/ and labelTxt/")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--size", type=int, default=1024, help="side of the tiles in pixels (default 1024)")
    parser.add_argument("--overlap", type=int, default=200, help="overlap of neighbors in pixels (default 200)")
    parser.add_argument("--min-visibility", type=float, default=0.7, help="part of an object in a tile (default 0.7)")
    parser.add_argument("--images", default="images/*.png", help="pattern of the images (default images/*.png)")
    parser.add_argument("--labels", default="labelTxt/*.txt", help='pattern of the text files, "" for none')
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="class names (default: the 15 of DOTA-v1.0)")
    parser.add_argument("--workers", type=at_least(0), default=0, help="number of processes (default: this one)")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from vislab.datasets.dota_tiles import cut_tiles, read_index

    for done, total in cut_tiles(
        args.source,
        args.out,
        size=args.size,
        overlap=args.overlap,
        min_visibility=args.min_visibility,
        images=args.images,
        labels=args.labels,
        classes=args.classes,
        workers=args.workers,
    ):
        print(f"\r{done} of {total} images", end="", file=sys.stderr, flush=True)
    sizes, places = read_index(args.out / "tiles.json")
    print(f"\n{len(places)} tiles of {len(sizes)} images are in {args.out}")


if __name__ == "__main__":
    args = parse_args()
    run(lambda: main(args))
