"""Find objects in a folder of images without labels, for the pre-training of MutDet: boxes, embeddings and clusters.

    vislab pseudo-labels data/DOTA_800/train/images --out pseudo/dota --workers 8
    vislab pseudo-labels data/DIOR/JPEGImages-trainval --out pseudo/dior --codebook pseudo/dota
    vislab pseudo-labels $VISLAB_DATA/hit_uav/train --out pseudo/hit_uav --encoder tf_efficientnet_lite0 \
        --weights $VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors --dims 128 --clusters 64 \
        --labels configs/_base_/datasets/hit_uav.py

Writes D/pseudo_labels.safetensors, which the dataset PseudoBoxes reads, and D/codebook.safetensors. A stopped run is
continued by the same command. `--labels` prints the recall of the boxes; labels are not used otherwise. Boxes are found
by contours; with `--masks FOLDER` they are those of masks in JSON files, such as SAM's, and with `--model CONFIG CKPT`
those of the masks of a model, such as Mask2Former.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from vislab.cli import at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--out", type=Path, required=True, metavar="D", help="folder for the results")
    parser.add_argument("--limit", type=int, default=100, help="objects per image (default 100)")
    parser.add_argument("--masks", metavar="FOLDER", help="use the masks in FOLDER/NAME.json")
    parser.add_argument("--model", nargs=2, metavar=("CONFIG", "CKPT"), help="use the masks of a model")
    parser.add_argument("--encoder", default="resnet50", help="timm model (default resnet50)")
    parser.add_argument("--weights", help="file of its weights (default: timm's download)")
    parser.add_argument("--crop-size", type=int, default=224, help="side of the crops in pixels (default 224)")
    parser.add_argument("--dims", type=int, metavar="N", help="length of the embeddings (default 256)")
    parser.add_argument("--clusters", type=int, metavar="N", help="number of clusters (default 256)")
    parser.add_argument("--codebook", type=Path, metavar="D", help="use PCA and clusters of another run")
    parser.add_argument("--labels", metavar="CONFIG", help="print the recall on the training set of a config")
    parser.add_argument(
        "--workers", type=at_least(0), metavar="N", default=0, help="processes that find boxes (default: this one)"
    )
    parser.add_argument("--device", default="cpu", help="device of the encoder (default cpu)")


def main(args: argparse.Namespace) -> None:
    from vislab.engine.device import usable_device
    from vislab.errors import ConfigError
    from vislab.io.paths import usable_folder
    from vislab.systems.mutdet import pseudo_labels as stage
    from vislab.systems.mutdet.codebook import Codebook
    from vislab.systems.mutdet.crops import CropEncoder

    target, work = args.out / "pseudo_labels.safetensors", args.out / "partial"
    if target.exists():
        raise ConfigError(f"{target} exists: remove it, or choose another folder")
    fit = {"dims": args.dims, "clusters": args.clusters}
    codebook = {name: 256 if value is None else value for name, value in fit.items()}
    if args.codebook is not None:
        if set(fit.values()) != {None}:
            raise ConfigError("--codebook brings PCA and clusters of its own: remove --dims and --clusters")
        codebook = Codebook.load(args.codebook / "codebook.safetensors")
    truth = args.labels and read_labels(args.labels)  # before the work, which may take hours
    device = usable_device(args.device)
    encoder = CropEncoder(name=args.encoder, pretrained=args.weights or True, size=args.crop_size).to(device)
    proposer = make_proposer(args)
    stage.check_sizes(codebook, encoder.channels, args.limit)
    usable_folder(args.out, "--out")
    names = ("limit", "masks", "model", "encoder", "weights", "crop_size")
    settings = {name: getattr(args, name) for name in names}
    began, first, objects = time.monotonic(), None, 0
    for done, total, found in stage.find_objects(args.folder, work, proposer, encoder, settings, workers=args.workers):
        first = done - 1 if first is None else first
        objects += found
        rate = (done - first) / (time.monotonic() - began)
        left = (total - done) / rate
        text = f"{done} of {total} images, {objects} objects, {rate:.1f} images/s, {left:.0f} s left "
        print(f"\r{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)
    images, found, codebook = stage.finish(args.folder, work, target, codebook)
    codebook.save(args.out / "codebook.safetensors")
    shutil.rmtree(work)
    print(f"\n{sum(len(f.rboxes) for f in found)} objects in {len(images)} images are in {target}")
    if args.labels:
        print_recall(args, {i.name: f.rboxes for i, f in zip(images, found, strict=True)}, truth)


def make_proposer(args: argparse.Namespace):
    from vislab.apis import Predictor
    from vislab.errors import ConfigError
    from vislab.systems.mutdet.contour_proposer import ContourProposer
    from vislab.systems.mutdet.proposals import MaskFileProposer, MaskModelProposer

    if args.masks and args.model:
        raise ConfigError("--masks and --model: use one of them")
    if args.masks:
        return MaskFileProposer(args.masks, args.limit)
    if not args.model:
        return ContourProposer(limit=args.limit)
    if args.workers:
        raise ConfigError("--model runs in one process: remove --workers")
    return MaskModelProposer(Predictor(*args.model, device=args.device).predict_samples, limit=args.limit)


def read_labels(config: str):
    """Return the labeled boxes of the training set of a config, which may hold nothing but datasets.

    Raises:
        ConfigError: The config is missing or invalid, or has no training set.
    """
    from mmengine.config import Config

    from vislab.engine.config.source import find, scan
    from vislab.errors import ConfigError
    from vislab.registry import DATASETS
    from vislab.systems.mutdet.recall import labeled_boxes

    cfg = Config.fromfile(scan(find(Path(config))).path)
    dataset = cfg.get("train_set") or (cfg.get("train_dataloader") or {}).get("dataset")
    if dataset is None:
        raise ConfigError(f"{config} has neither a train_dataloader nor a train_set")
    return labeled_boxes(DATASETS.build({**dataset, "pipeline": []}))


def print_recall(args: argparse.Namespace, rboxes: dict, truth: dict) -> None:
    import os

    from vislab.systems.mutdet.recall import recall

    found = {os.path.realpath(args.folder / name): boxes for name, boxes in rboxes.items()}
    if not found.keys() & truth.keys():
        print(f"no recall: no image of {args.folder} is in the training set of {args.labels}")
        return
    limits = [n for n in (10, 30, 100, 300, 1000) if n < args.limit] + [args.limit]
    values, total = recall(found, truth, limits)
    shown = ", ".join(f"{value:.3f} with {limit}" for limit, value in values.items())
    print(f"recall at IoU 0.5 of {total} labeled objects: {shown} boxes per image")
