"""Run a checkpoint on images, folders of images and videos.

    vislab predict CONFIG CKPT photo.jpg folder/ film.mp4 --out results
    vislab predict mask2former_swin_t_coco_panoptic photo.jpg --out results      # weights of the catalogue

Writes an image with predictions per image, an .mp4 file per video, and predictions.json. Inputs that cannot be read or
processed (e.g. too small) are skipped and listed at the end; the exit status is then 2. Folders are searched
recursively, without hidden files. Images can be URLs. `--tiles 1024` cuts larger images, such as aerial photographs,
into overlapping tiles, in batches of `--batch-size`, and merges the detected boxes.
"""

import argparse

from vislab.cli import add_cfg_options, parse_cfg_options
from vislab.errors import ConfigError

# names of the catalogue need no weights; these suffixes tell weights from images after a name
WEIGHTS = (".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".pkl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file, or name of the catalogue (`vislab download --list`)")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="[CKPT] INPUT",
        help="weights, unless the config is a name of the catalogue; then images, folders of images, videos, or URLs",
    )
    parser.add_argument("--out", required=True, metavar="D", help="folder for the results")
    parser.add_argument("--batch-size", type=int, default=1, help="images per batch (default 1)")
    parser.add_argument("--threshold", type=float, metavar="P", help="lowest score of objects (default: draw from 0.3)")
    parser.add_argument("--class", dest="classes", action="append", metavar="NAME",
                        help="only objects of this class; several times for several classes")  # fmt: skip
    parser.add_argument("--tiles", type=int, metavar="SIZE", help="predict larger images in tiles of this many pixels")
    parser.add_argument("--overlap", type=int, metavar="N", help="overlap of the tiles in pixels (default 200)")
    parser.add_argument("--device", help="device such as cpu or cuda:0 (default: a GPU if available)")
    add_cfg_options(parser)


def split_inputs(config: str, inputs: list[str]) -> tuple[str | None, list[str]]:
    """Return the checkpoint, None for that of the catalogue, and the images.

    Raises:
        ConfigError: No image was given.
    """
    if config.endswith(".py") or inputs[0].lower().endswith(WEIGHTS):
        checkpoint, inputs = inputs[0], inputs[1:]
        if not inputs:
            raise ConfigError(f"no image, folder or video was given; {checkpoint} was taken for the weights")
        return checkpoint, inputs
    return None, inputs


def main(args: argparse.Namespace) -> None:
    from vislab import apis
    from vislab.apis.tiles import Tiles

    if args.overlap is not None and args.tiles is None:
        raise ConfigError(f"--overlap {args.overlap} is that of the tiles: give their size with --tiles, e.g. 1024")
    overlap = 200 if args.overlap is None else args.overlap
    checkpoint, inputs = split_inputs(args.config, args.inputs)
    apis.predict(
        args.config,
        checkpoint,
        inputs,
        args.out,
        batch_size=args.batch_size,
        threshold=args.threshold,
        classes=args.classes,
        device=args.device,
        cfg_options=parse_cfg_options(args.cfg_options),
        tiles=None if args.tiles is None else Tiles(args.tiles, overlap, args.batch_size),
        report=print,
    )
    print(f"results are in {args.out}")
