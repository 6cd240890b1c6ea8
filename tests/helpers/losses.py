"""Train the toy run and write the losses of all steps; started by test_distributed.py with and without torchrun.
python tests/e2e/losses.py OUT --launcher none --batch-size 8
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()

    import torch

    from tests.helpers.toy_run import ToyModel, make_runner, toy_config

    torch.set_num_threads(1)
    loader = toy_config(args.out)["train_dataloader"] | {"batch_size": args.batch_size}
    runner = make_runner(
        args.out,
        by_epoch=False,
        total=args.steps,
        launcher=args.launcher,
        train_dataloader=loader | {"sampler": {"type": "InfiniteSampler", "shuffle": True}},
        model={"type": ToyModel, "dropout": 0.0, "norm": False},
    )
    losses = []
    step = runner.model.train_step

    def recording(data, optim_wrapper):
        outputs = step(data, optim_wrapper)
        loss = outputs["loss"].detach().clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(loss)
            loss /= torch.distributed.get_world_size()
        losses.append(loss.item())
        return outputs

    runner.model.train_step = recording
    runner.train()
    if runner.rank == 0:
        (args.out / "losses.json").write_text(json.dumps(losses))
    print(f"rank {runner.rank} of {runner.world_size}: {type(runner.model).__name__}, {runner.last_metrics}")
