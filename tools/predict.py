"""Run a checkpoint on images, folders of images and videos.

    python tools/predict.py CONFIG CKPT photo.jpg folder/ film.mp4 --out results

Writes a picture of each image, an .mp4 of each video at the times of its frames, and predictions.json. An input that
cannot be read, or that the model cannot take (too small, say), is left out: the others are done all the same, a list of
what was left out comes at the end, and the exit status is then 2. Folders are searched through, without hidden files.
An image may be an address (https://...).
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout that was never installed
from vislab.cli import add_cfg_options, parse_cfg_options, run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="weights")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image, folder of images, video, or address of an image"
    )
    parser.add_argument("--out", required=True, metavar="D", help="folder for the results")
    parser.add_argument("--batch-size", type=int, default=1, help="images at a time (default 1)")
    parser.add_argument("--device", help="e.g. cpu or cuda:0 (default: a GPU if there is one)")
    add_cfg_options(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from vislab import apis

    apis.predict(
        args.config,
        args.checkpoint,
        args.inputs,
        args.out,
        batch_size=args.batch_size,
        device=args.device,
        cfg_options=parse_cfg_options(args.cfg_options),
    )
    print(f"results are in {args.out}")


if __name__ == "__main__":
    args = parse_args()
    run(lambda: main(args))
