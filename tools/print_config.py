"""Print a config with its bases and options resolved.

    python tools/print_config.py configs/hnerv/hnerv_bunny_160x320_cpu.py
    python tools/print_config.py CONFIG --cfg-options optim_wrapper.optimizer.lr=1e-3

The output is a valid config file. Use tools/check_config.py to check it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for checkouts that are not installed
from vislab.cli import add_cfg_options, parse_cfg_options, run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    add_cfg_options(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from vislab.engine.config.load import load_config

    print(load_config(args.config, parse_cfg_options(args.cfg_options)).pretty_text)


if __name__ == "__main__":
    arguments = parse_args()
    run(lambda: main(arguments))
