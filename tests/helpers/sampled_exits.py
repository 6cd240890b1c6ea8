"""Train a small EcoM2F with sampled exits; started by test_hooks_distributed.py with and without torchrun.
python tests/helpers/sampled_exits.py OUT --launcher none --batch-size 4

Two things are made alike for one process and two, since no sum over processes could be: the points of the losses are
the same for all masks (each process draws its own otherwise), and "no object" counts in full (a weighted mean over all
images is no mean of the processes' weighted means). Numbers of masks stay as they are, and differ.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

LAYERS = 4


def configuration(out: Path, batch_size: int, launcher: str, steps: int) -> dict:
    from vislab.datasets.scenes import Scenes
    from vislab.datasets.transforms import PackInputs, PanopticToInstances
    from vislab.models.preprocessor import ImagePreprocessor
    from vislab.systems.eco_m2f import EcoM2F
    from vislab.systems.eco_m2f.hooks import SampleExitHook

    pipeline = [{"type": PanopticToInstances}, {"type": PackInputs}]
    return {
        "model": {
            "type": EcoM2F,
            "backbone": {"name": "resnet10t", "norm_eval": True, "model_args": {"zero_init_last": False}},
            "num_classes": 5, "thing_classes": 3, "num_queries": 8, "exits": tuple(range(1, LAYERS + 1)),
            "exit_mode": "sample",
            "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": LAYERS},
            "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 48, "num_layers": 2},
            "loss": {"num_points": 100, "no_object_weight": 1.0},
            "data_preprocessor": {"type": ImagePreprocessor, "size_divisor": 32},
        },
        "work_dir": str(out),
        "train_dataloader": {
            "dataset": {"type": Scenes, "length": 40, "size": 64, "num_objects": (1, 5), "pipeline": pipeline},
            "sampler": {"type": "InfiniteSampler", "shuffle": True},
            "batch_size": batch_size,
            "num_workers": 0,
        },
        "train_cfg": {"by_epoch": False, "max_iters": steps, "val_interval": 1000},
        # momentum and decay would move a layer whose gradient were 0 instead of none
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.01}},
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": -1}},
        "custom_hooks": [{"type": SampleExitHook}],
        "randomness": {"seed": 3},
        "launcher": launcher,
        "log_level": "WARNING",
    }  # fmt: skip


def share_points() -> None:
    import torch

    points = torch.rand(1, 300, 2, generator=torch.Generator().manual_seed(0))

    def rand(*shape, **_):
        return points[:, : shape[1]].expand(shape).clone()

    torch.rand = rand


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()

    import torch

    from vislab.engine.runner import Runner

    torch.set_num_threads(1)
    runner = Runner(**configuration(args.out, args.batch_size, args.launcher, args.steps))
    share_points()
    wrapper, log = runner.model, []
    model = getattr(wrapper, "module", wrapper)
    step = wrapper.train_step

    def recording(data, optim_wrapper):
        before = [[p.detach().clone() for p in layer.parameters()] for layer in model.pixel_decoder.layers]
        masks = sum(len(sample.gt_instances) for sample in data["data_samples"])
        outputs = step(data, optim_wrapper)
        moved = [
            any(not torch.equal(a, b) for a, b in zip(old, layer.parameters(), strict=True))
            for old, layer in zip(before, model.pixel_decoder.layers, strict=True)
        ]
        log.append({"exit": model.train_exit, "moved": moved, "masks": masks})
        return outputs

    wrapper.train_step = recording
    runner.train()
    torch.save(model.state_dict(), args.out / f"weights{runner.rank}.pth")
    (args.out / f"log{runner.rank}.json").write_text(json.dumps(log))
    print(f"rank {runner.rank} of {runner.world_size}: {type(runner.model).__name__}")


if __name__ == "__main__":
    main()
