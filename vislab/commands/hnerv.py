"""Encode videos into .hnv files with HNeRV, decode, check and change them.

    vislab hnerv encode film.mp4 film.hnv --bpp 0.05       or --size BYTES, --psnr DB; --minutes M
    vislab hnerv decode film.hnv film.mp4                  any frame alone: --frames 10:20
    vislab hnerv decode film.hnv folder                    exact pixels as PNG
    vislab hnerv info film.hnv                             sizes of all parts
    vislab hnerv verify film.hnv                           decode everything but the pixels
    vislab hnerv encode film.mp4 film.hnv --bpp 0.02 --task CONFIG CKPT
                                                           keep what a segmentation or depth model sees
    vislab hnerv repack film.hnv small.hnv --bpp 0.05      lower the rate without the video
    vislab hnerv convert quant_vid.pth bunny.hnv           from the paper's quantized videos

An encoding that was stopped goes on when the same command is run again. Format: docs/hnv_format.md. Bits per pixel
(bpp) are 8 x the size of the file / (frames x height x width).
"""

import argparse
import time

from vislab.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    encode = commands.add_parser("encode", help="fit a network to a video and store it")
    encode.add_argument("video", help="video file, folder of images, or bunny, bikes, carphone")
    encode.add_argument("target", help="new .hnv file")
    size = encode.add_mutually_exclusive_group()
    size.add_argument("--size", type=int, metavar="BYTES", help="size of the file, at most")
    size.add_argument("--bpp", type=float, help="bits per pixel, at most")
    size.add_argument("--psnr", type=float, metavar="DB", help="mean PSNR of the decoded frames")
    length = encode.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, metavar="M", help="time for everything")
    length.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the frames instead (default 36, at least 3)"
    )
    encode.add_argument("--strides", type=int, nargs="+", metavar="S", help="upsampling per stage (default: by size)")
    encode.add_argument("--segment", type=int, default=600, metavar="N", help="most frames of a network (default 600)")
    encode.add_argument(
        "--task", nargs=2, metavar=("CONFIG", "CKPT"),
        help="segmentation or depth model that shall see the decoded frames like the originals",
    )  # fmt: skip
    encode.add_argument("--task-weight", type=float, metavar="W", help="weight of its term in the loss (default 0.01)")
    encode.add_argument("--seed", type=int, default=0, metavar="N", help="seed (default 0)")

    decode = commands.add_parser("decode", help="write frames to an .mp4 file or as images to a folder")
    decode.add_argument("file", help=".hnv file")
    decode.add_argument("target", help=".mp4 file (H.264, lossy), or a new folder for PNG files (exact)")
    decode.add_argument("--frames", default=":", metavar="A:B", help="frames A to B - 1, or one frame (default all)")

    info = commands.add_parser("info", help="print the sizes of all parts")
    info.add_argument("file", help=".hnv file")

    verify = commands.add_parser("verify", help="check and decode all weights and embeddings")
    verify.add_argument("file", help=".hnv file")

    repack = commands.add_parser("repack", help="lower the rate without the video")
    repack.add_argument("file", help=".hnv file")
    repack.add_argument("target", help="new .hnv file")
    repack.add_argument("--bpp", type=float, required=True, help="bits per pixel of the new file, at most")

    convert = commands.add_parser("convert", help="convert a quantized video of the paper's implementation")
    convert.add_argument("checkpoint", help="such as quant_vid.pth")
    convert.add_argument("target", help="new .hnv file")
    convert.add_argument("--fps", type=float, default=25, help="frames per second (default 25)")


def main(args: argparse.Namespace) -> None:
    if args.command == "encode":
        began = time.monotonic()  # --minutes count the import
        from vislab.systems.hnerv.codec.encode_video import encode

        lines = encode(
            args.video,
            args.target,
            size=args.size,
            bpp=args.bpp,
            psnr=args.psnr,
            minutes=args.minutes,
            epochs=args.epochs,
            strides=args.strides,
            segment_frames=args.segment,
            seed=args.seed,
            task=_task(args.task, args.task_weight),
            began=began,
        )
        print("\n".join(lines))
    elif args.command in ("decode", "info", "verify"):
        from vislab.systems.hnerv.codec import playback

        if args.command == "decode":
            count = playback.export(args.file, args.target, frames=args.frames)
            print(f"{count} frames are in {args.target}")
        elif args.command == "info":
            print(playback.describe(args.file))
        else:
            print(playback.verify(args.file))
    elif args.command == "repack":
        from vislab.systems.hnerv.codec.repack import repack

        reached = repack(args.file, args.target, bpp=args.bpp)
        print(f"{args.target}: {reached:.5f} bits per pixel")
    elif args.command == "convert":
        from vislab.systems.hnerv.codec.convert import convert_file
        from vislab.systems.hnerv.codec.playback import describe

        convert_file(args.checkpoint, args.target, fps=args.fps)
        print(describe(args.target))


def _task(names: list[str] | None, weight: float | None):
    """Return a frozen model (config, checkpoint) as a term of the loss; None without one."""
    if names is None:
        if weight is not None:
            raise ConfigError(f"--task-weight {weight:g} is the weight of --task CONFIG CKPT, which is not given")
        return None
    from vislab.apis.frozen import FrozenDense
    from vislab.systems.hnerv.codec.task import Task

    model = FrozenDense(*names)
    name = f"{names[0]} ({model.identity()[:12]})"
    return Task(model.distance, model.measure, name, 0.01 if weight is None else weight)
