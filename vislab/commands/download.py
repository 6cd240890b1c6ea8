"""Download weights of the catalogue, or list it.

    vislab download --list                                    # names, data, published results, source
    vislab download --list "mask2former_swin_*"
    vislab download mask2former_swin_t_coco_panoptic          # so that `vislab predict` finds it without a network
    vislab download NAME --dest weights                       # to weights/NAME instead of the cache
    vislab download NAME --from-file model.safetensors        # downloaded elsewhere, or made by `vislab publish`

Files of the hub are kept in its cache (HF_HOME), others in VISLAB_CACHE, by default ~/.cache/vislab. docs/model_zoo.md
is the same list.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="names, or with --list patterns such as swin_*")
    parser.add_argument("--list", action="store_true", help="list the models and download nothing")
    parser.add_argument("--dest", metavar="D", help="folder for the files, instead of the cache")
    parser.add_argument("--from-file", metavar="F", help="use this file, which was downloaded by other means")


def main(args: argparse.Namespace) -> None:
    from vislab.errors import ConfigError, did_you_mean
    from vislab.zoo.catalogue import find_entry, list_models
    from vislab.zoo.pretrained import download, use_file

    if args.list:
        if args.dest or args.from_file:
            raise ConfigError("--list downloads nothing: remove --dest and --from-file, or --list")
        for pattern in args.names or ["*"]:
            if not (names := list_models(pattern)):
                hint = did_you_mean(pattern, list_models())
                raise ConfigError(f"no model with published weights is named {pattern!r}{hint}")
            for name in names:
                entry = find_entry(name)
                weights = entry.weights[0]
                source = weights.place
                print(
                    f"{name:<40} {entry.results[0]['Dataset']:<11} {entry.figures():<32} {source} ({weights.license})"
                )
        return
    if not args.names:
        raise ConfigError("name the models to download; `vislab download --list` lists them")
    if args.from_file and len(args.names) != 1:
        raise ConfigError(f"--from-file is the file of one model; got {len(args.names)} names")
    for name in args.names:
        entry = find_entry(name)
        if args.from_file and not entry.weights and Path(args.from_file).is_file():
            from vislab.apis.models import create_model

            create_model(name, args.from_file, device="cpu")  # before it takes the place of a file that fits
        file = use_file(entry, args.from_file, args.dest) if args.from_file else download(entry, args.dest)
        print(f"{name}: {file}")
