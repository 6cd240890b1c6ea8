"""Small runs of a classifier and of timesNet on one process or sharded over several with FullyShard.
python tests/helpers/sharded_runs.py OUT --launcher pytorch

trains both on all processes, and goes on from the checkpoints in OUT/one_* that another number of processes wrote.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

STEPS, SAVED = 7, 3  # the checkpoint is within an accumulation window of 2
MODELS = ("classifier", "timesnet")
VIT = {"patch_size": 8, "embed_dim": 33, "depth": 3, "num_heads": 3}  # 33 is not divisible by 2 processes
ATTO = {"name": "convnext_atto", "model_args": {"depths": (2, 1, 2, 1), "dims": (8, 12, 15, 16)}}
_runs = 0


def run_config(kind: str, work_dir: Path, *, launcher: str = "none", processes: int = 1, **changes: Any) -> dict:
    """A config: 4 samples an iteration from 10 drawn scenes, validation on 5 of them."""
    model = {
        "classifier": {
            "type": "ImageClassifier", "name": "vit_tiny_patch16_224", "num_classes": 5, "img_size": 32,
            "model_args": VIT,
        },
        "timesnet": {
            "type": "SemanticSegmentor", "num_classes": 5,
            "network": {"type": "TimesNet", "encoder": ATTO, "decoder": ATTO, "gate_width": 8},
        },
    }[kind]  # fmt: skip
    scenes = {
        "type": "Scenes", "size": 32, "num_objects": (1, 3), "pipeline": [{"type": "LoadImage"}, {"type": "PackInputs"}]
    }  # fmt: skip
    loader = {"batch_size": 4 // processes, "num_workers": 0}
    return {
        "model": model,
        "work_dir": str(work_dir),
        "launcher": launcher,
        "model_wrapper_cfg": {"type": "FullyShard"},
        "train_dataloader": loader
        | {"dataset": scenes | {"length": 10, "seed": 1}, "sampler": {"type": "InfiniteSampler", "shuffle": True}},
        "train_cfg": {"by_epoch": False, "max_iters": STEPS, "val_interval": 5},
        "val_dataloader": {
            "dataset": scenes | {"length": 5, "seed": 2},
            "sampler": {"type": "EpochSampler", "shuffle": False},
            "batch_size": 2,
        },
        "val_cfg": {},
        "val_evaluator": {"type": "Accuracy" if kind == "classifier" else "SemSegMetric"},
        "optim_wrapper": {
            "constructor": "LayerDecayOptimConstructor",
            "paramwise_cfg": {"layer_decay": 0.8},
            "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
            "clip_grad": {"max_norm": 1.0},
            "accumulative_counts": 2,
        },
        "param_scheduler": [{"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 5}],
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": SAVED}},
        "randomness": {"seed": 3},
        "log_level": "WARNING",
        **changes,
    }


def train(kind: str, work_dir: Path, **changes: Any) -> dict[str, Any]:
    """Train, and return the mean of the processes' losses at each step, the last metrics, the class of the model, and
    the share of parameters and optimizer state that this process holds."""
    global _runs
    import torch

    from vislab.engine.runner import Runner

    _runs += 1  # mmengine keeps one logger and one message hub for each name
    runner = Runner.from_cfg(run_config(kind, work_dir, **changes, experiment_name=f"sharded{_runs}"))
    losses, step = {}, runner.model.train_step

    def recording(data, optim_wrapper):
        outputs = step(data, optim_wrapper)
        loss = outputs["loss"].detach().clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(loss)
            loss /= torch.distributed.get_world_size()
        losses[runner.iter + 1] = loss.item()
        return outputs

    runner.model.train_step = recording
    runner.train()
    if hasattr(runner.model, "reshard"):  # the last validation has gathered the parameters
        runner.model.reshard()
    tensors = list(runner.model.parameters())
    tensors += [entries["exp_avg"] for entries in runner.optim_wrapper.optimizer.state.values()]
    held = sum(getattr(tensor, "_local_tensor", tensor).untyped_storage().nbytes() for tensor in tensors)
    return {
        "losses": losses,
        "metrics": runner.last_metrics,
        "model": type(runner.model).__name__,
        "share": held / sum(4 * tensor.numel() for tensor in tensors),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--launcher", default="none")
    args = parser.parse_args()

    import os

    import torch

    torch.set_num_threads(1)
    options = {"launcher": args.launcher, "processes": int(os.environ["WORLD_SIZE"])}
    found = {}
    for kind in MODELS:
        found[kind] = train(kind, args.out / f"two_{kind}", **options)
        resume = str(args.out / f"one_{kind}" / f"iter_{SAVED}.pth")
        found[f"{kind}_resumed"] = train(kind, args.out / f"one_two_{kind}", resume=resume, **options)
    deferred = {"type": "FullyShard", "defer_gradient_sync": True, "reshard_after_forward": False}
    found["deferred"] = train("classifier", args.out / "deferred", model_wrapper_cfg=deferred, **options)
    if int(os.environ["RANK"]) == 0:
        (args.out / "two.json").write_text(json.dumps(found))
