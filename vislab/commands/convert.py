"""Convert weights of other projects to a .safetensors file of this project, and print what was matched.

    vislab convert model_final.pkl weights.safetensors --config mask2former_swin_t_coco_panoptic
    vislab convert FOLDER_OF_THE_HUB weights.safetensors --config CONFIG --cfg-options model.num_classes=91
    vislab convert pretrained.pth encoder.safetensors --config CONFIG --part encoder

SOURCE is a file, or a folder with model.safetensors or pytorch_model.bin and config.json. Each weight must find its
place, or nothing is written. The result is for `vislab test`, `vislab predict` and `vislab train --load-from`.
"""

import argparse

from vislab.cli import add_cfg_options, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="weights of another project: a file or a folder")
    parser.add_argument("out", help="file to write, *.safetensors")
    parser.add_argument("--config", required=True, help="config file of the model, or name of a shipped config")
    parser.add_argument("--layout", default="auto", help="layout of the names (default: detected)")
    parser.add_argument("--part", default="", metavar="NAME", help="convert only this part of the model, e.g. encoder")
    parser.add_argument(
        "--partial", action="store_true",
        help="write the weights that fit although others are missing, unknown or of another shape",
    )  # fmt: skip
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab.apis.conversion import convert

    report = convert(
        args.source,
        args.out,
        args.config,
        layout=args.layout,
        part=args.part,
        partial=args.partial,
        cfg_options=parse_cfg_options(args.cfg_options),
    )
    print(report)
    print(f"wrote {args.out}")
