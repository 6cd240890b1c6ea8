"""Export a model to ONNX or torch.export, checked against the model.

    vislab export CONFIG CKPT --out model.onnx --size 480 640
    vislab export mask2former_swin_t_coco_panoptic --out model.onnx --size 640 640      # weights of the catalogue
    vislab export CONFIG CKPT --out model.onnx --size 480 640 --dynamic batch size
    vislab export CONFIG CKPT --out exit_3.onnx --size 640 640 --exit 3                 # ECO-M2F: a file for each exit

Images are RGB with values from 0 to 255, (batch, 3, height, width), float32; the normalization is in the file. The file
is compared with the model on three inputs and written only if no output differs by more than 1e-4 of its range.
"""

import argparse
import json

from vislab.cli import add_cfg_options, parse_cfg_options
from vislab.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file, or name of the catalogue (`vislab download --list`)")
    parser.add_argument("checkpoint", nargs="?", metavar="CKPT", help="weights (default: those of the catalogue)")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, *.onnx or *.pt2")
    parser.add_argument("--format", choices=["onnx", "torch"], help="default: by the name of the file")
    parser.add_argument("--size", type=int, nargs="+", metavar="N", help="height and width, or one side of a square")
    parser.add_argument(
        "--dynamic",
        nargs="+",
        choices=["batch", "size", "none"],
        default=["batch"],
        help="what stays free in the file (default batch); size is for models without positions",
    )
    parser.add_argument("--exit", type=int, metavar="K", help="encoder layers of Mask2Former and ECO-M2F")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    if args.size is not None and len(args.size) > 2:
        raise ConfigError(f"--size {' '.join(map(str, args.size))}: expected height and width, or one side")
    if "none" in args.dynamic and len(args.dynamic) > 1:
        raise ConfigError(f"--dynamic {' '.join(args.dynamic)}: none stands alone")
    format = args.format or ("torch" if args.out.endswith(".pt2") else "onnx")

    from vislab.apis.exporting import export

    done = export(
        args.config,
        args.checkpoint,
        args.out,
        format=format,
        size=None if args.size is None else (args.size[0], args.size[-1]),
        dynamic=[name for name in args.dynamic if name != "none"],
        exit=args.exit,
        cfg_options=parse_cfg_options(args.cfg_options),
    )
    facts = {name: json.loads(done.metadata[name]) for name in ("input", "outputs", "size", "dynamic")}
    print(f"task      {done.metadata['task']}")
    for kind in ("input", "outputs"):
        for name, about in facts[kind].items():
            print(f"{kind.removesuffix('s'):<10}{name}: {about}")
    print(f"size      {facts['size'][0]}x{facts['size'][1]}, free: {' and '.join(facts['dynamic']) or 'nothing'}")
    for difference in done.differences:
        print(f"difference {difference} of its range")
    print(f"wrote {done.path} ({done.path.stat().st_size / 2**20:.1f} MiB); largest difference {done.largest}")
