"""Time of a pre-training step of MutDet, and what the mutual enhancement adds to it.

    python benchmarks/mutdet_step.py [--quick]

A step is forward, losses and backward of two images with 20 pseudo boxes each, ResNet-50 with a frozen backbone, 6
encoder and 6 decoder layers. "two branches" is MutDet with an enhancement of 0 layers: all the rest of the step.
Parity: the plain branch has the same losses in both, bit for bit.
"""

import sys

import _common
import torch
from mmengine.structures import InstanceData

from vislab.structures import DataSample
from vislab.systems.mutdet import MutDet

OBJECTS = 20


def model(depth: int, quick: bool) -> MutDet:
    """Return MutDet with an enhancement of `depth` layers and random weights."""
    torch.manual_seed(0)
    layers = {"num_layers": 2 if quick else 6, "dropout": 0.0}
    made = MutDet(
        backbone={"name": "resnet50", "out_indices": (2, 3, 4), "frozen_stages": -1, "norm_eval": True},
        num_classes=256,
        enhancement={"depth": depth},
        encoder=layers,
        decoder=layers | {"look_forward_twice": True, "output_norm": True, "box_position": True},
        denoising={},
    )
    return made.train()


def samples(size: int) -> list[DataSample]:
    """Return labels of two images."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(2):
        part = torch.rand(OBJECTS, 5, generator=generator)
        boxes = torch.cat([size * (0.1 + 0.8 * part[:, :2]), 12 + 40 * part[:, 2:4], part[:, 4:] - 0.5], 1)
        sample = DataSample(metainfo={"img_shape": (size, size)})
        sample.gt_instances = InstanceData(
            labels=torch.randint(256, (OBJECTS,), generator=generator),
            rbboxes=boxes,
            embeddings=torch.nn.functional.normalize(torch.randn(OBJECTS, 256, generator=generator), dim=1),
        )
        found.append(sample)
    return found


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    size = 256 if args.quick else 512
    images, labels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2)), samples(size)
    models = {"two branches": model(0, args.quick), "with enhancement": model(3, args.quick)}
    models["with enhancement"].load_state_dict(models["two branches"].state_dict(), strict=False)

    def losses(name: str) -> dict:
        torch.manual_seed(3)
        return models[name](images, labels, mode="loss")

    def step(name: str) -> None:
        models[name].zero_grad()
        sum(losses(name).values()).backward()

    first, second = (losses(name) for name in models)
    plain = [name for name in first if not name.startswith("p_") and "align" not in name]
    differ = [name for name in plain if not torch.equal(first[name], second[name])]
    line = f"parity: {len(plain) - len(differ)} of {len(plain)} losses of the plain branch are identical"
    print(line, flush=True)
    if differ:
        sys.exit(f"error: {differ[0]} differs")
    times = _common.interleave({name: lambda name=name: step(name) for name in models}, pairs=2 if args.quick else 5)
    base = times["two branches"]
    table = _common.print_table([_common.timing_row(f"step {size} px: {name}", times[name], base) for name in models])
    if not args.no_record:
        _common.record(f"{line}\n\n{table}", args.quick)
    _common.result(enhancement_time=_common.ratio(times["with enhancement"]["cpu"], base["cpu"]))


if __name__ == "__main__":
    main()
