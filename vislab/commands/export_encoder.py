"""Write the encoder of a CAE checkpoint to a .safetensors file for timm and TimmEncoder.

    vislab export-encoder CONFIG CHECKPOINT OUT.safetensors

CHECKPOINT is a checkpoint of vislab, of the official code or of mmpretrain; only its encoder is read, and it must fit
CONFIG exactly. The arguments of timm.create_model and TimmEncoder for the file are printed.
"""

import argparse

from vislab.cli import add_cfg_options, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file of the pre-training")
    parser.add_argument("checkpoint", help="checkpoint with the encoder")
    parser.add_argument("out", help="file to write, *.safetensors")
    parser.add_argument("--fold", action="store_true", help="multiply layer scales into the weights: a plain ViT")
    parser.add_argument("--pool", choices=["token", "avg"], default="token", help="avg: final norm after the mean")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    from vislab.apis.build import build_model, load
    from vislab.errors import ConfigError
    from vislab.io.paths import refuse_source
    from vislab.models.encoders.vit import ViT
    from vislab.systems.cae.export import export_encoder
    from vislab.zoo import load_foreign

    refuse_source(args.out, args.checkpoint)
    model = build_model(load(args.config, parse_cfg_options(args.cfg_options)), device="cpu")
    if not isinstance(getattr(model, "encoder", None), ViT):
        raise ConfigError(f"{args.config} has no model with a ViT as `encoder`, but {type(model).__name__}")
    report = load_foreign(model, args.checkpoint, part="encoder")
    if model.data_preprocessor.statistics is None:
        raise ConfigError(f"{args.config}: the data preprocessor does not normalize: set its mean and std")
    mean, std = model.data_preprocessor.statistics
    arguments = export_encoder(model.encoder, args.out, mean=mean, std=std, fold=args.fold, pool=args.pool)
    print(report)
    name = arguments.pop("model_name")
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    print(f"wrote {args.out}")
    print(f"timm.create_model({name!r}, checkpoint_path={args.out!r}, {given})")
    size, arguments = arguments.pop("img_size", None), {k: v for k, v in arguments.items() if k != "num_classes"}
    size = "" if size is None else f", img_size={size}"
    print(f"images are normalized with mean={mean}, std={std}")
    print(f"TimmEncoder(name={name!r}, pretrained={args.out!r}{size}, model_args={arguments})")
