"""Merge the detections in tiles of DOTA, and write the archive for the evaluation server (Task 1).

    python tools/dataset_converters/dota_tiles.py data/DOTA/test --out data/DOTA_tiles/test --labels ""
    python tools/predict.py CONFIG CKPT data/DOTA_tiles/test/images --out predicted
    python tools/dataset_converters/dota_submission.py data/DOTA_tiles/test/tiles.json predicted/predictions.json \
        --out Task1.zip

The place of each tile is read from the index file. Overlapping detections of a class are merged by rotated NMS.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for checkouts that are not installed
from vislab.cli import run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="tiles.json of the tiles")
    parser.add_argument("predictions", type=Path, help="predictions.json of tools/predict.py for the folder of tiles")
    parser.add_argument("--out", type=Path, required=True, help="the .zip file")
    parser.add_argument("--threshold", type=float, default=0.1, help="IoU of the rotated NMS (default 0.1)")
    parser.add_argument("--min-score", type=float, default=0.0, help="leave out detections below it (default 0)")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from vislab.apis.dota_submission import merge_tiles, write_submission
    from vislab.datasets.corner_text import DOTA_CLASSES
    from vislab.io.paths import usable_file

    out = Path(usable_file(args.out, (".zip",)))
    images, names = merge_tiles(args.index, args.predictions, threshold=args.threshold, min_score=args.min_score)
    write_submission(images, names, out, DOTA_CLASSES)
    print(f"{sum(map(len, images.values()))} detections in {len(images)} images are in {args.out}")


if __name__ == "__main__":
    args = parse_args()
    run(lambda: main(args))
