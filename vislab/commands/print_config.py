"""Print a config with its bases and options resolved.

    vislab print-config configs/hnerv/hnerv_bunny_160x320_cpu.py
    vislab print-config CONFIG --cfg-options optim_wrapper.optimizer.lr=1e-3

The output is a valid config file. Use vislab check-config to check it.
"""

import argparse

from vislab.cli import add_cfg_options, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab.engine.config.load import load_config

    print(load_config(args.config, parse_cfg_options(args.cfg_options)).pretty_text)
