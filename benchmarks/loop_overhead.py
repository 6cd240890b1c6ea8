"""Overhead of a Runner training step compared to a plain PyTorch loop, with the same model and in-memory batches.

The Runner trains with its default hooks; a last hook measures the time of each block of steps and then runs the plain
loop on the same block. Both must end with bit-identical weights. Target: a ratio of at most 1.03 for steps of 20 ms or
more. Both use the allocator settings of the Runner (engine/allocator.py).
"""

import contextlib
import copy
import os
import tempfile
import time

import _common


def build_model(width: int):
    import torch
    from mmengine.model import BaseModel
    from torch import nn

    class ConvNet(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Conv2d(3, width, 3, padding=1), nn.GELU()]
            for _ in range(4):
                layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU()]
            self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 1))

        def forward(self, inputs, data_samples=None, mode="tensor"):
            loss = (self.layers(inputs) - inputs).square().mean()
            return {"loss": loss} if mode == "loss" else [loss]

    torch.manual_seed(0)
    return ConvNet()


class Batches:
    """Dataset of batches (B, 3, H, W) in memory."""

    metainfo: dict = {}

    def __init__(self, length: int, batch_size: int, size: int) -> None:
        import torch

        self.length = length
        self.batches = [torch.rand(batch_size, 3, size, size) for _ in range(8)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int):
        return {"inputs": self.batches[index % len(self.batches)]}


def take_first(samples: list):
    return samples[0]


def main(args) -> None:
    import torch
    from mmengine.hooks import Hook

    from vislab.engine.runner import Runner

    torch.set_num_threads(args.threads)
    block, rounds, warmup = (10, 60, 2) if args.quick else (10, 200, 4)
    steps = block * (rounds + warmup)
    data = Batches(steps, args.batch_size, args.size)
    model = build_model(args.width)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3)
    twin.train()

    def bare(first: int) -> None:
        for index in range(first, first + block):
            loss = twin(data[index]["inputs"], mode="loss")["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    times = {name: {"wall": [], "cpu": []} for name in ("bare loop", "Runner")}

    def note(name: str, wall: float, cpu: float) -> None:
        times[name]["wall"].append((time.perf_counter() - wall) / block)
        times[name]["cpu"].append((time.process_time() - cpu) / block)

    class Stopwatch(Hook):
        priority = "LOWEST"

        def before_train(self, runner) -> None:
            self.start()

        def start(self) -> None:
            self.wall, self.cpu = time.perf_counter(), time.process_time()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if (batch_idx + 1) % block:
                return
            note("Runner", self.wall, self.cpu)
            if (batch_idx // block) % 2 == 0:  # alternate the order: R B, B R, ...
                for first in (batch_idx + 1 - block, batch_idx + 1):
                    self.start()
                    bare(first)
                    note("bare loop", self.wall, self.cpu)
            self.start()

    with tempfile.TemporaryDirectory() as work_dir, open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stdout(nowhere):
            runner = Runner(
                model=model,
                work_dir=work_dir,
                train_dataloader={
                    "dataset": data,
                    "batch_size": 1,
                    "sampler": {"type": "EpochSampler", "shuffle": False},
                    "collate_fn": take_first,
                },
                train_cfg={"by_epoch": True, "max_epochs": 1},
                optim_wrapper={"optimizer": {"type": "AdamW", "lr": 1e-3}},
                param_scheduler={"type": "CosineAnnealingLR", "T_max": 10**9, "by_epoch": False},
                custom_hooks=[Stopwatch()],
                randomness={"seed": 0},
            )
            runner.train()
        costs = hook_costs(runner, data[0])

    pairs = zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
    difference = max((one.double() - other.double()).abs().max().item() for one, other in pairs)
    print(f"parity: largest difference of a weight after {steps} steps is {difference:g}")
    times = {name: {kind: values[warmup:] for kind, values in kinds.items()} for name, kinds in times.items()}
    rows = [
        _common.timing_row("bare loop", times["bare loop"]),
        _common.timing_row("Runner", times["Runner"], times["bare loop"]),
    ]
    table = _common.print_table(rows)
    print()
    hooks = _common.print_table([{"hook": name, "us a step": f"{cost:.1f}"} for name, cost in costs.items()])
    if not args.no_record:
        _common.record(f"largest weight difference {difference:g}\n\n{table}\n\n{hooks}", args.quick)
    _common.result(
        ratio=round(_common.ratio(times["Runner"]["wall"], times["bare loop"]["wall"]), 4),
        cpu_ratio=round(_common.ratio(times["Runner"]["cpu"], times["bare loop"]["cpu"]), 4),
        step_ms=round(sorted(times["bare loop"]["wall"])[rounds // 2] * 1e3, 2),
        hooks_us=round(sum(costs.values()), 1),
        parity=difference,
    )


def hook_costs(runner, batch: dict, calls: int = 200) -> dict[str, float]:
    """Return the microseconds per training step of each hook, including logging at its interval."""
    import torch

    costs = {}
    outputs = {"loss": torch.tensor(1.0)}
    for hook in runner.hooks[:-1]:  # without the timing hook
        began = time.perf_counter()
        for index in range(calls):
            hook.before_train_iter(runner, batch_idx=index, data_batch=batch)
            hook.after_train_iter(runner, batch_idx=index, data_batch=batch, outputs=outputs)
        costs[type(hook).__name__] = (time.perf_counter() - began) / calls * 1e6
    return costs


if __name__ == "__main__":
    parser = _common.parser(__doc__)
    parser.add_argument("--width", type=int, default=24, help="channels (default 24)")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--size", type=int, default=48, help="side of the images")
    main(parser.parse_args())
