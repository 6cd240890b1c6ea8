"""Make a file of weights to publish from a checkpoint: weights and class names only, its SHA256 in its name.

    vislab publish work_dirs/NAME/epoch_36.pth --config NAME --out release
    vislab publish CKPT --config CONFIG --out release --license MIT --url https://example.org/releases

Writes NAME-SHA256[:8].safetensors and NAME.yml, the entry for metafile.yml, and prints the entry. The results in it are
those of metrics.json in the folder of the checkpoint, if they are of this checkpoint.
"""

import argparse
import shlex

from vislab.cli import add_cfg_options, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint of this project")
    parser.add_argument("--config", required=True, help="config file of the checkpoint, or name of a shipped config")
    parser.add_argument("--out", required=True, metavar="D", help="folder for the files")
    parser.add_argument("--name", help="name of the model (default: that of the config)")
    parser.add_argument("--license", default="Apache-2.0", help="license of the weights (default Apache-2.0)")
    parser.add_argument("--url", default="", metavar="FOLDER", help="address of the folder that will hold the file")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab.apis.conversion import publish
    from vislab.engine.config.source import is_name

    path, entry = publish(
        args.checkpoint,
        args.config,
        args.out,
        name=args.name,
        license=args.license,
        url=args.url,
        cfg_options=parse_cfg_options(args.cfg_options),
    )
    print(entry, end="")
    print(f"wrote {path}")
    if args.name is None and is_name(args.config):
        print(f"to use the file by name elsewhere: vislab download {args.config} --from-file {shlex.quote(str(path))}")
