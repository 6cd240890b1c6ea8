"""Train and validate on a dataset not divisible by batch size and processes; started by test_uneven_batches.py.
    python tests/helpers/uneven_batches.py OUT --launcher none

Writes OUT/PROCESSES.json: the metrics of datasets of several lengths under fixed weights, and the iterations of a run
by epochs.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

LENGTHS = (1, 2, 5, 7, 8)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    args = parser.parse_args()

    import torch

    from tests.helpers.toy_run import ToyDataset, ToyModel, jitter, make_runner, plain

    torch.set_num_threads(1)
    found: dict[str, dict] = {"metrics": {}}
    for length in LENGTHS:
        loader = {
            "dataset": {"type": ToyDataset, "length": length, "pipeline": [plain]},
            "sampler": {"type": "EpochSampler", "shuffle": False},
            "batch_size": 2,
        }
        runner = make_runner(args.out / "val", launcher=args.launcher, val_dataloader=loader, custom_hooks=[])
        found["metrics"][length] = runner.val()
    options = {
        "launcher": args.launcher,
        "model": {"type": ToyModel, "norm": False},  # a batch of one sample has no variance
        "custom_hooks": [],
        "val_dataloader": loader,
        "train_dataloader": {
            "dataset": {"type": ToyDataset, "length": 9, "pipeline": [jitter]},
            "sampler": {"type": "EpochSampler", "shuffle": True},
            "batch_size": 2,
        },
    }
    runner = make_runner(args.out / "train", total=2, **options)
    runner.train()
    found["iterations"] = runner.iter
    train = options["train_dataloader"] | {"dataset": {"type": ToyDataset, "length": 12, "pipeline": [jitter]}}
    options |= {"model": {"type": ToyModel}, "train_dataloader": train}
    runner = make_runner(args.out / f"norms_{runner.world_size}", total=2, **options)
    runner.train()
    found["with norms"] = runner.last_metrics
    if runner.rank == 0:
        (args.out / f"{runner.world_size}.json").write_text(json.dumps(found))
