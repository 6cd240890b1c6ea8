"""Cost of TrAct compared to the plain layer and to torch_tract, for one layer and for whole training steps.

    python benchmarks/tract_cost.py            all sizes, about five minutes on one core
    python benchmarks/tract_cost.py --quick    three sizes and one step

The parity check compares the gradients with torch_tract on the same layer and input. Peak memory is that of a new
process with one forward and backward, minus that of a process which only creates layer and input.
"""

import importlib.util
import sys
from functools import partial

import _common

SIZES = {  # kernel, stride, padding, output channels, batch, side
    "3x3, 64, 32 px, b32": (3, 1, 1, 64, 32, 32),
    "3x3, 64, 32 px, b128": (3, 1, 1, 64, 128, 32),
    "patch 4, 192, 32 px, b32": (4, 4, 0, 192, 32, 32),
    "patch 4, 192, 32 px, b128": (4, 4, 0, 192, 128, 32),
    "patch 16, 192, 64 px, b32": (16, 16, 0, 192, 32, 64),
    "patch 16, 192, 64 px, b128": (16, 16, 0, 192, 128, 64),
    "patch 8, 192, 64 px, b128": (8, 8, 0, 192, 128, 64),
    "7x7/2, 64, 224 px, b64": (7, 2, 3, 64, 64, 224),
    "patch 16, 384, 224 px, b64": (16, 16, 0, 384, 64, 224),
}
QUICK = ("3x3, 64, 32 px, b128", "patch 4, 192, 32 px, b128", "patch 16, 192, 64 px, b128")
_VIT = {"patch_size": 4, "depth": 7, "num_heads": 12, "mlp_ratio": 1}
STEPS = {  # ImageClassifier's arguments, batch
    "ViT of the paper, 32 px": ({"name": "vit_small_patch16_224", "img_size": 32, "model_args": _VIT}, 32),
    "ResNet-18 for CIFAR, 32 px": ({"name": "resnet18", "stem": "cifar"}, 32),
    "ViT-S/16, 224 px": ({"name": "vit_small_patch16_224"}, 8),
}
QUICK_STEP = "ViT of the paper, 32 px"


def make_layer(kind: str, size: tuple):
    """Return the layer (plain, vislab or torch_tract) and its input."""
    import torch
    from torch import nn

    kernel, stride, padding, channels, batch, side = size
    torch.manual_seed(0)
    layer = nn.Conv2d(3, channels, kernel, stride, padding)
    # similar neighboring pixels, as in images
    x = nn.functional.avg_pool2d(torch.randn(batch, 3, side, side), 5, 1, 2) * 5
    if kind == "ours":
        from vislab.systems.tract import apply_tract

        apply_tract(layer, lam=0.1)
    elif kind == "torch_tract":
        from torch_tract import TrAct

        layer = TrAct(layer, l=0.1)
    return layer, x


def run_layer(layer, x, g) -> None:
    layer.weight.grad = layer.bias.grad = None
    layer(x).backward(g)


def measure_layer(name: str, pairs: int) -> tuple[list[dict], dict[str, float]]:
    import torch

    layers = {kind: make_layer(kind, SIZES[name]) for kind in ("plain", "ours", "torch_tract")}
    x = layers["plain"][1]
    g = torch.randn_like(layers["plain"][0](x)) / len(x)
    fns = {kind: partial(run_layer, layer, x, g) for kind, (layer, _) in layers.items()}
    times = _common.interleave(fns, pairs=pairs, warmup=2)
    ours, theirs = (layers[kind][0].weight.grad for kind in ("ours", "torch_tract"))
    off = ((ours - theirs).norm() / theirs.norm()).item()
    rows = [
        _common.timing_row(f"{name}: {kind}", times[kind], times["torch_tract"])
        | {"peak MiB": f"{peak(kind, name):.0f}"}
        for kind in fns
    ]
    return rows, {"off": off, "faster": 1 / _common.ratio(times["ours"]["cpu"], times["torch_tract"]["cpu"])}


def peak(kind: str, name: str) -> float:
    """Return the memory in MiB of forward and backward, without layer and input."""
    runs = [_common.peak_rss([sys.executable, __file__, "--child", kind, name, str(n)]) for n in (0, 1)]
    return max(0.0, runs[1] - runs[0])


def child(kind: str, name: str, count: str) -> None:
    import torch
    import torch._dynamo  # imported by all optimizers; import it first, so that it is not counted as memory

    torch.set_num_threads(1)
    layer, x = make_layer(kind, SIZES[name])
    for _ in range(int(count)):
        run_layer(layer, x, torch.ones_like(layer(x)))


def parity() -> str:
    """Compare gradients in float64, for N >= n and for N < n."""
    import torch

    worst = 0.0
    for batch in (2, 64):
        size = (16, 16, 0, 32, batch, 64)
        grads = []
        for kind in ("ours", "torch_tract"):
            layer, x = make_layer(kind, size)
            layer, x = layer.double(), x.double()
            run_layer(layer, x, torch.linspace(-1, 1, layer(x).numel(), dtype=torch.float64).view_as(layer(x)))
            grads.append(layer.weight.grad)
        worst = max(worst, ((grads[0] - grads[1]).norm() / grads[1].norm()).item())
    assert worst < 1e-10, worst
    return f"parity with torch_tract, float64, N < n and N >= n: relative difference {worst:.1e}"


def measure_step(name: str, pairs: int) -> tuple[list[dict], float]:
    """Time training steps with SGD of a classifier, plain and with TrAct on the first layer."""
    import torch
    from mmengine.structures import LabelData

    from vislab.models.classifier import ImageClassifier
    from vislab.structures import DataSample
    from vislab.systems.tract import apply_tract

    settings, batch = STEPS[name]
    side = settings.get("img_size", 32 if "stem" in settings else 224)
    x = torch.nn.functional.avg_pool2d(torch.randn(batch, 3, side, side), 5, 1, 2) * 5
    samples = [DataSample(gt_label=LabelData(label=torch.tensor([i % 10]))) for i in range(batch)]
    fns = {}
    for kind in ("plain", "TrAct"):
        torch.manual_seed(0)
        model = ImageClassifier(num_classes=10, **settings).train()
        if kind == "TrAct":
            apply_tract(model)
        fns[kind] = partial(step, model, torch.optim.SGD(model.parameters(), lr=1e-3), x, samples)
    times = _common.interleave(fns, pairs=pairs, warmup=2)
    rows = [_common.timing_row(f"step, {name}, b{batch}: {kind}", times[kind], times["plain"]) for kind in fns]
    return rows, _common.ratio(times["TrAct"]["cpu"], times["plain"]["cpu"])


def step(model, optimizer, x, samples) -> None:
    optimizer.zero_grad()
    model(x, samples, mode="loss")["loss"].backward()
    optimizer.step()


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    if importlib.util.find_spec("torch_tract") is None:
        _common.skip("torch_tract: pip install -e '.[peers]'")
    import torch

    torch.set_num_threads(args.threads)
    first = parity()
    print(first, flush=True)
    rows, found = [], {}
    for name in QUICK if args.quick else SIZES:
        pairs = 5 if args.quick or "224" in name else 15
        new, found[name] = measure_layer(name, pairs)
        _common.print_table(new)
        rows += new
    steps, overheads = [], {}
    for name in [QUICK_STEP] if args.quick else STEPS:
        new, overheads[name] = measure_step(name, 7 if args.quick else 11)
        _common.print_table(new)
        steps += new
    if not args.no_record:
        tables = [
            "Layer, forward and backward; ratios to torch_tract:",
            _common.format_table(rows),
            "Whole steps; ratios to the plain step:",
            _common.format_table(steps),
        ]
        _common.record("\n\n".join([first, *tables]), args.quick)
    _common.result(
        slowest_against_peer=min(f["faster"] for f in found.values()),
        worst_fp32_difference=max(f["off"] for f in found.values()),
        worst_step_ratio=max(overheads.values()),
        **{name.split(",")[0].replace(" ", "").replace("/", "s") + "_" + name.split("b")[-1]: found[name]["faster"]
           for name in found if "patch 16" in name or "7x7" in name},
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
