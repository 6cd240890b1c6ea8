"""Check configs without reading data; exits with status 2 if one of them is invalid.

    vislab check-config configs/*/*.py
    vislab check-config CONFIG --cfg-options data_root=/data/coco
    vislab check-config CONFIG --no-files                 # without the data

Each error is listed with its position, value, and the nearest valid name. vislab train runs the same check.
"""

import argparse
import sys

from vislab.cli import add_cfg_options, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="config file")
    parser.add_argument("--no-files", action="store_true", help="do not check whether data and weights exist")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> int:
    from vislab.engine.config.check import check_config
    from vislab.engine.config.load import load_config
    from vislab.errors import ConfigError

    options = parse_cfg_options(args.cfg_options)
    wrong = 0
    for path in args.configs:
        try:
            check_config(load_config(path, options), files=not args.no_files)
            print(f"OK     {path}")
        except ConfigError as error:
            wrong += 1
            print(f"WRONG  {path}", flush=True)
            print(f"error: {error}", file=sys.stderr, flush=True)
    if len(args.configs) > 1:
        print(f"{len(args.configs) - wrong} of {len(args.configs)} configs are valid")
    return 2 if wrong else 0
