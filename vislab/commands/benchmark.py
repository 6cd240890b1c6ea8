"""Benchmark a model or its data loader: latency p50 and p95, throughput, peak memory.

    vislab benchmark CONFIG                        # prediction on the first images of the test set
    vislab benchmark CONFIG --shape 512 512 --batch-size 8
    vislab benchmark CONFIG --train                # training steps: forward, backward, update
    vislab benchmark CONFIG --loader-only          # training data loader only

Steps include the data preprocessor. Times vary between runs on shared machines; use the scripts in benchmarks/ for
comparisons, which interleave the candidates.
"""

import argparse
import json
import sys
import time

from vislab.cli import add_cfg_options, at_least, explained_shape, parse_cfg_options
from vislab.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file")
    parser.add_argument("--checkpoint", help="weights (default: initial weights)")
    parser.add_argument(
        "--shape", type=at_least(1), nargs="+", metavar="N", help="use random images of this height and width"
    )
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        metavar="N",
        help="images per step (default: 1, or that of the config with --train)",
    )
    parser.add_argument("--steps", type=at_least(1), metavar="N", default=50, help="timed steps (default 50)")
    parser.add_argument("--warmup", type=at_least(0), metavar="N", default=5, help="untimed first steps (default 5)")
    parser.add_argument(
        "--max-seconds", type=at_least(0, float), metavar="S", default=60, help="most time for the steps (default 60)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--train", action="store_true", help="time training steps")
    what.add_argument("--loader-only", action="store_true", help="time the training data loader")
    parser.add_argument(
        "--workers", type=at_least(0), metavar="N", help="processes with --loader-only (default: that of the config)"
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--device", help="device such as cpu or cuda:0 (default: a GPU if available)")
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="torch threads on the CPU")
    parser.add_argument("--out", metavar="F", help="also write the results to this .json file")
    add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    import torch

    from vislab.apis.training import training_config
    from vislab.io.atomic import write_text_atomically
    from vislab.io.paths import usable_file

    _refuse_flags_without_effect(args)
    out = args.out and usable_file(args.out)
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = training_config(args.config, cfg_options=parse_cfg_options(args.cfg_options), amp=args.amp and args.train)
    if args.loader_only:
        step, images, close = _loader_step(cfg, args)
    else:
        step, images, close = (_train_step if args.train else _predict_step)(cfg, args)
    with explained_shape(args.shape):
        times = _measure(step, args.steps, args.warmup, args.max_seconds)
    close()
    report = {
        "what": "loader" if args.loader_only else "train" if args.train else "predict",
        "config": args.config,
        "batch_size": images,
        "steps": len(times),
        "p50_ms": _percentile(times, 50) * 1e3,
        "p95_ms": _percentile(times, 95) * 1e3,
        "images_per_second": images * len(times) / sum(times),
        "peak_memory_mib": _peak_memory(),
        "device": _device_name(args.device),
    }
    for key, value in report.items():
        print(f"{key:<18} {value:.4g}" if isinstance(value, float) else f"{key:<18} {value}")
    if out:
        write_text_atomically(json.dumps(report, indent=1), out)


def _refuse_flags_without_effect(args: argparse.Namespace) -> None:
    if args.train and args.shape:
        raise ConfigError("--train needs labels and cannot be combined with --shape")
    if args.workers is not None and not args.loader_only:
        raise ConfigError(f"--workers {args.workers} is for --loader-only: other steps take their images once, before")
    model = {"--shape": args.shape, "--checkpoint": args.checkpoint, "--amp": args.amp, "--device": args.device}
    if args.loader_only and any(model.values()):
        flag = next(name for name, value in model.items() if value)
        raise ConfigError(f"--loader-only uses no model: remove {flag}")


def _predict_step(cfg, args):
    import torch

    from vislab.apis.build import build_model
    from vislab.apis.sampling import raw_batch

    model = build_model(cfg, args.checkpoint, device=args.device)
    size = args.batch_size or 1
    batch = raw_batch(cfg, shape=args.shape, batch_size=size)
    device = next(model.parameters()).device
    dtype = torch.bfloat16 if device.type == "cpu" else torch.float16

    def step():
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=args.amp):
            model.test_step(batch)
        _wait(device)

    return step, len(batch["inputs"]), lambda: None


def _train_step(cfg, args):
    from mmengine.optim import build_optim_wrapper

    from vislab.apis.build import build_model
    from vislab.apis.sampling import raw_batch

    model = build_model(cfg, args.checkpoint, device=args.device).train()
    size = args.batch_size or cfg.train_dataloader.get("batch_size", 1)
    batch = raw_batch(cfg, split="train", batch_size=size)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    device = next(model.parameters()).device

    def step():
        model.train_step(batch, optim_wrapper)
        _wait(device)

    return step, len(batch["inputs"]), lambda: None


def _loader_step(cfg, args):
    from vislab.apis.sampling import build_loader

    changes = {"batch_size": args.batch_size} if args.batch_size else {}
    if args.workers is not None:
        changes |= {"num_workers": args.workers}
    loader = build_loader(cfg, "train", **changes)
    batches = iter(loader)

    def step():
        nonlocal batches
        try:
            next(batches)
        except StopIteration:  # next epoch
            batches = iter(loader)
            next(batches)

    def close():
        nonlocal batches
        batches = None

    return step, loader.batch_size or 1, close


def _measure(step, steps: int, warmup: int, max_seconds: float) -> list[float]:
    for _ in range(warmup):
        step()
    times, end = [], time.perf_counter() + max_seconds
    while len(times) < steps and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def _wait(device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _device_name(device: str | None) -> str:
    import torch

    gpu = torch.cuda.is_available() and (device or "cuda").startswith("cuda")
    return torch.cuda.get_device_name() if gpu else f"cpu, {torch.get_num_threads()} threads"


def _peak_memory() -> float:
    """Return the peak memory in MiB of the GPU if available, else of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


def _percentile(values: list[float], percent: float) -> float:
    """Return a percentile with linear interpolation, as in NumPy."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)
