"""Parameters, GMACs, latency and memory of timesNet, compared to an FPN, DPT, and a manual composition.

    python benchmarks/timesnet_cost.py            # ConvNeXtV2-T x ConvNeXtV2-T at 480x640, a few minutes
    python benchmarks/timesnet_cost.py --quick    # the same models at 96x128

Weights are random. "by hand" calls the two timm models and the same Re-Shape modules in a plain function; the parity
check compares the outputs. DPT (transformers, with a similar number of parameters) is skipped if transformers is not
installed. If VISLAB_DATA is set, the rates of the data loader and of training steps are measured at 240x320 with
EfficientNet-Lite0 as encoder and decoder.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import _common

NAME = "convnextv2_tiny"
# DINOv2's ViT-S with patch size 16, and neck and head of DPT
DPT_BACKBONE = {
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "out_indices": [3, 6, 9, 12],
    "reshape_hidden_states": False,
    "apply_layernorm": False,
}


def networks(size: tuple[int, int]) -> dict:
    """Return functions that build the compared networks in eval mode."""
    from vislab.models.fpn import FPNNetwork
    from vislab.systems.timesnet import TimesNet

    found = {
        "timesNet T x T": lambda: TimesNet(encoder={"name": NAME}, decoder={"name": NAME}).eval(),
        "FPN T": lambda: FPNNetwork(encoder={"name": NAME}).eval(),
    }
    try:
        from transformers import Dinov2Config, DPTConfig, DPTForDepthEstimation
    except ImportError:
        print("transformers is not installed: no DPT row")
    else:
        backbone = Dinov2Config(**DPT_BACKBONE, image_size=max(size))
        config = DPTConfig(backbone_config=backbone, is_hybrid=False)
        found["DPT ViT-S (transformers)"] = lambda: DPTForDepthEstimation(config).eval()
    return found


def by_hand(network):
    """Return a function with the computation of TimesNet.forward for one size that needs no padding."""
    import torch

    encoder, decoder = network.encoder.model, network.decoder.model
    last, stages = list(network.encoder.out_indices), list(network.decoder.out_indices)

    def forward(images):
        mean, std = network.encoder_mean.view(1, 3, 1, 1), network.encoder_std.view(1, 3, 1, 1)
        deepest = encoder.forward_intermediates((images - mean) / std, indices=last, intermediates_only=True)[0]
        mean, std = network.decoder_mean.view(1, 3, 1, 1), network.decoder_std.view(1, 3, 1, 1)
        mixed = (images - mean) / std * network.reshape_in(deepest)
        maps = decoder.forward_intermediates(mixed, indices=stages, intermediates_only=True)
        return network.reshape_out(
            torch.cat([layer(m) for layer, m in zip(network.to_finest, maps, strict=True)], dim=1)
        )

    return forward


def gmacs(network, images) -> float:
    """Return the GMACs of one image, for matrix products and convolutions as counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() / 2e9


def memory_of(index: int, size: tuple[int, int]) -> float:
    """Return the peak resident memory in MiB of a process that builds network `index` and runs it once."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torch, timesnet_cost as t; torch.set_num_threads(1);"
        f"n = list(t.networks({size}).values())[{index}]();"
        f"torch.inference_mode().__enter__(); n(torch.rand(1, 3, *{size}))"
    )
    return _common.peak_rss([sys.executable, "-c", code, str(Path(__file__).parent)])


def rates(quick: bool) -> dict[str, float]:
    """Return the images per second of the data loader and of training steps, with one worker and one thread each."""
    import torch

    from vislab.apis.build import load
    from vislab.engine.runner import Runner
    from vislab.registry import MODELS

    cfg = load(Path(__file__).parents[1] / "configs/timesnet/timesnet_lite0_lite0_rgbd_kitchen.py")
    batch, count = cfg.train_dataloader.batch_size, 3 if quick else 12
    # in CPU time, which is not affected by other processes
    loader = Runner.build_dataloader({**cfg.train_dataloader, "num_workers": 0}, seed=0)
    batches = iter(loader)
    data = next(batches)
    start = time.process_time()
    for _ in range(count):
        data = next(batches)
    loading = count * batch / (time.process_time() - start)
    with MODELS.switch_scope_and_registry("vislab"):
        model = MODELS.build(cfg.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    data = model.data_preprocessor(data, True)

    def step():
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    start = time.process_time()
    for _ in range(1 if quick else 4):
        step()
    return {"loader": loading, "step": (1 if quick else 4) * batch / (time.process_time() - start)}


def main() -> None:
    parser = _common.parser(__doc__)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    size = (96, 128) if args.quick else (480, 640)
    found = {name: make() for name, make in networks(size).items()}
    images = torch.rand(1, 3, *size)
    ours = found["timesNet T x T"]
    hand = by_hand(ours)
    with torch.inference_mode():
        difference = (ours(images) - hand(images)).abs().max().item()
        parity = f"parity: largest difference to the hand-made composition {difference:.1e}"
        print(parity, flush=True)
        calls = {name: lambda network=network: network(images) for name, network in found.items()}
        times = _common.interleave({**calls, "by hand": lambda: hand(images)}, pairs=9 if args.quick else 5, warmup=1)
        # the overhead is at most a few milliseconds, so it is measured at a small size
        small = torch.rand(1, 3, 96, 128)
        pair = _common.interleave({"ours": lambda: ours(small), "hand": lambda: hand(small)}, pairs=41, warmup=3)
    overhead = _common.ratio(pair["ours"]["cpu"], pair["hand"]["cpu"]) - 1
    rows = []
    for index, (name, network) in enumerate(found.items()):
        total = sum(p.numel() for p in network.parameters())
        new = network.new_parameters() if hasattr(network, "new_parameters") else None
        if name.startswith("FPN"):
            new = total - sum(p.numel() for p in network.encoder.parameters())
        rows.append(
            {
                **_common.timing_row(name, times[name], times["FPN T"]),
                "params M": f"{total / 1e6:.1f}",
                "new": "" if new is None else f"{new / 1e6:.2f}M = {new / total:.1%}",
                "GMACs": f"{gmacs(network, images):.1f}",
                "peak MiB": f"{memory_of(index, size):.0f}",
            }
        )
    rows.append(_common.timing_row("timesNet by hand", times["by hand"], times["FPN T"]))
    text = _common.print_table(rows)
    line = f"composition overhead at 96x128, median of 41 pairs: {overhead:+.2%} CPU time"
    print(line)
    ends = {"parity": difference, "overhead": overhead}
    if os.environ.get("VISLAB_DATA"):
        rate = rates(args.quick)
        line += f"\n\nloader alone {rate['loader']:.1f}, training steps alone {rate['step']:.1f} images a CPU second"
        print(line.splitlines()[-1])
        ends |= {"loader_rate": rate["loader"], "step_rate": rate["step"]}
    if not args.no_record:
        _common.record(f"{parity}, {size[0]}x{size[1]}\n\n{text}\n\n{line}", args.quick)
    wall = times["timesNet T x T"]["wall"]
    _common.result(**ends, latency_ms=1e3 * statistics.median(wall))


if __name__ == "__main__":
    main()
