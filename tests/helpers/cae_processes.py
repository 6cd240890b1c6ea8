"""Train the run of cae_run.py and save losses and metrics, for test_model_run.py, with and without torchrun:
python tests/helpers/cae_processes.py OUT --launcher none --batch-size 8
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()

    import torch

    from tests.helpers.cae_run import make_runner

    torch.set_num_threads(1)
    runner = make_runner(args.out, total=10, batch=args.batch_size, launcher=args.launcher)
    runner.train()
    if runner.rank == 0:
        torch.save({"losses": torch.tensor(runner.steps), "metrics": runner.last_metrics}, args.out / "result.pth")
    print(f"rank {runner.rank} of {runner.world_size}: {type(runner.model).__name__}")
