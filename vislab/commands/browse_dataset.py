"""Draw samples of the dataset of a config after the pipeline, with their labels.

vislab browse-dataset CONFIG --out images
vislab browse-dataset CONFIG --out images --split val --number 50
vislab browse-dataset CONFIG --out images --stages      # after each transform
"""

import argparse
from pathlib import Path

from vislab.cli import add_cfg_options, at_least, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the images")
    parser.add_argument("--number", type=at_least(1), metavar="N", default=16, help="number of samples (default 16)")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="train", help="split of the dataset (default train)"
    )
    parser.add_argument("--stages", action="store_true", help="draw the sample after each transform of the pipeline")
    parser.add_argument("--seed", type=at_least(0), metavar="N", default=0, help="seed of the augmentation (default 0)")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab.engine.config.check import check_config
    from vislab.engine.config.load import load_config
    from vislab.io.paths import usable_folder
    from vislab.visualization.browse import browse

    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    check_config(cfg)
    out = Path(usable_folder(args.out, "--out"))
    paths = browse(cfg, out=out, split=args.split, number=args.number, stages=args.stages, seed=args.seed)
    print(f"{len(paths)} images in {args.out}")
