"""Train a run, interrupt one within an accumulation window, resume it, and print whether both are equal.
python tests/e2e/resumed_steps.py OUT --launcher none
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    args = parser.parse_args()

    import contextlib

    import torch

    from tests.helpers.toy_run import Killed, make_runner, stop_at

    torch.set_num_threads(1)
    options = {
        "by_epoch": False,
        "total": 10,
        "launcher": args.launcher,
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}, "accumulative_counts": 4},
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 5}},
    }
    whole = make_runner(args.out / "whole", **options)
    whole.train()
    broken = make_runner(args.out / "broken", **options)
    stop_at(broken, 7)
    with contextlib.suppress(Killed):
        broken.train()
    resumed = make_runner(args.out / "broken", **options, resume=True)
    resumed.train()
    # running statistics of a BatchNorm that is not synchronized are each rank's own, and those of rank 0 are saved
    kept = "state_dict" if resumed.rank == 0 else "named_parameters"
    one, other = (dict(getattr(runner.model, kept)()) for runner in (whole, resumed))
    pairs = zip(one.values(), other.values(), strict=True)
    equal = all(torch.equal(one, other) for one, other in pairs)
    print(f"rank {resumed.rank} of {resumed.world_size}: from {resumed.loaded_from}, equal: {equal}")
