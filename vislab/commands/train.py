"""Train a model from a config.

    vislab train configs/hnerv/hnerv_bunny_160x320_cpu.py
    vislab train hnerv_bunny_160x320_cpu               # a shipped config by its name
    vislab train CONFIG --resume                       # continue an interrupted run
    vislab train CONFIG --log wandb                    # or tensorboard, mlflow
    vislab train CONFIG --check                        # stop after the first step
    vislab train CONFIG --cfg-options train_cfg.max_epochs=3 optim_wrapper.optimizer.lr=1e-3

Prints the metrics and writes them to WORK_DIR/metrics.json.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from vislab.cli import add_cfg_options, command, format_metrics, parse_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file, or name of a shipped config")
    parser.add_argument(
        "--work-dir", help="folder for checkpoints, logs and metrics.json (default: work_dirs/<config name>)"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="CKPT",
        help="resume from CKPT; without CKPT from the latest checkpoint in the work directory, if there is one",
    )
    parser.add_argument(
        "--load-from",
        metavar="CKPT",
        help="initialize the model with these weights: a file, or a catalogue name",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (float16 on a GPU, bfloat16 on a CPU)")
    parser.add_argument(
        "--amp-dtype", choices=["float16", "bfloat16"], help="mixed precision in this type; bfloat16 is not scaled"
    )
    parser.add_argument("--auto-scale-lr", action="store_true", help="scale the learning rate by the batch size")
    parser.add_argument("--seed", type=int, help="random seed of the run")
    parser.add_argument(
        "--log", action="append", choices=["tensorboard", "wandb", "mlflow"], default=[],
        help="send the curves to this tracker, too; may be given several times (without a network: WANDB_MODE=offline)",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="run the first step and one validation batch; write nothing"
    )
    add_cfg_options(parser)
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def how_to_go_on(work_dir: str | None) -> list[str]:
    """Return a message on how to resume an interrupted run; empty if it has no work directory yet."""
    if work_dir is None:
        return []
    if not [*Path(work_dir).glob("epoch_*.pth"), *Path(work_dir).glob("iter_*.pth")]:
        return [f"no checkpoint was saved yet in {work_dir}"]
    words, resume = [], False
    for word in sys.argv:
        if word != "--resume" and not (resume and not word.startswith("-")):  # with its value
            words.append(word)
        resume = word == "--resume"
    script = words[0].endswith(".py") and not words[0].endswith("__main__.py")  # in whatever folder it is
    start = f"python {shlex.quote(words[0])}" if script else command("train")
    rest = shlex.join(words[1:] if script else words[2:])
    return [f"checkpoints are in {work_dir}; resume with:", f"    {start} {rest} --resume"]


def main(args: argparse.Namespace) -> None:
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    from vislab import apis

    flags = {
        "work_dir": args.work_dir,
        "resume": args.resume,
        "load_from": args.load_from,
        "amp": args.amp_dtype or args.amp,
        "auto_scale_lr": args.auto_scale_lr,
        "seed": args.seed,
        "log": args.log,
        "launcher": args.launcher,
        "cfg_options": parse_cfg_options(args.cfg_options),
    }
    if args.check:
        for key, value in apis.dry_run(args.config, **flags).items():
            text = value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
            print(f"{key}: {text}")
        print("OK")
    else:
        try:
            metrics = apis.train(args.config, **flags)
        except KeyboardInterrupt as stop:
            stop.args = tuple(how_to_go_on(getattr(stop, "work_dir", None)))
            raise
        if metrics and int(os.environ.get("RANK", 0)) == 0:
            print(format_metrics(metrics))
