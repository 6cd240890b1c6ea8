"""Time of an HNeRV training step compared to the original repository, on the CPU, with the same weights and frames.

Needs a checkout of the original repository (haochen-rye/HNeRV on GitHub). It has no license, so none of its code is
included here. Its unused imports are stubbed.

    python benchmarks/hnerv_step.py --peer-dir ../HNeRV [--quick]

A step is forward, L2 loss, backward and Adam, on the same float frames. The parity check is the maximum difference of
the output images. Target: at most 0.7 of the time of the original.
"""

import os
import sys
import types
from argparse import Namespace
from pathlib import Path

import _common

SIZES = {  # frame size, decoder width
    "640x1280 1.5M": ((640, 1280), 68),
    "320x640 0.35M": ((320, 640), 34),
    "160x320 0.3M": ((160, 320), 34),
}


def import_peer(folder: str):
    """Import the module model_all of the original, with stubs for imports of its data loading."""
    if not Path(folder, "model_all.py").is_file():
        sys.exit(f"error: {folder!r} contains no model_all.py. Pass a checkout of haochen-rye/HNeRV with --peer-dir.")

    def stub(name: str, **names) -> None:
        sys.modules.setdefault(name, types.ModuleType(name)).__dict__.update(names)

    from timm.layers import DropPath, trunc_normal_

    stub("decord", bridge=Namespace(set_bridge=lambda _name: None))
    stub("pytorchvideo")
    stub("pytorchvideo.data")
    stub("pytorchvideo.data.encoded_video", EncodedVideo=None)
    stub("timm.models.layers", DropPath=DropPath, trunc_normal_=trunc_normal_)  # its place in older versions
    sys.path.insert(0, folder)
    import model_all

    return model_all


def build_peer(module, strides: tuple[int, ...], width: int):
    settings = Namespace(
        embed="",
        ks="0_1_5",
        num_blks="1_1",
        enc_strds=list(strides),
        enc_dim="64_16",
        conv_type=["convnext", "pshuffel"],
        norm="none",
        act="gelu",
        fc_dim=width,
        dec_strds=list(strides),
        reduce=1.2,
        lower_width=12,
        out_bias="tanh",
    )
    return module.HNeRV(settings)


def widen(peer) -> None:
    """Increase small initial weights, so that the parity check depends on all layers."""
    for stage in peer.encoder.stages:
        stage[0].gamma.data.fill_(0.5)
    for layer in peer.decoder:
        for weight in layer.parameters():
            weight.data.mul_(2)
    peer.head_layer.weight.data.mul_(3)


def copy_weights(ours, peer) -> None:
    """Copy weights; both models define their parameters in the same order except for channel norms and layer scale."""
    pairs: list[tuple[object, object]] = []
    blocks = list(ours.encoder)
    for i in range(len(ours.strides)):
        first, second, block = blocks[3 * i : 3 * i + 3]
        down, theirs = peer.encoder.downsample_layers[i], peer.encoder.stages[i][0]
        pairs += [(first, down[0]), (second, down[1]), (block.depthwise, theirs.dwconv), (block.norm, theirs.norm)]
        pairs += [(block.mlp[0], theirs.pwconv1), (block.mlp[2], theirs.pwconv2)]
        block.scale.data.copy_(theirs.gamma.data)
    pairs.append((ours.decoder.stem[0], peer.decoder[0].conv.downconv))
    pairs += [(a[0], b.conv.upconv[0]) for a, b in zip(ours.decoder.stages, peer.decoder[1:], strict=True)]
    pairs.append((ours.decoder.to_rgb, peer.head_layer))
    for mine, theirs in pairs:
        mine.load_state_dict(theirs.state_dict())


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--peer-dir", default=os.environ.get("HNERV_REPO"), help="checkout; default: env HNERV_REPO")
    parser.add_argument("--size", choices=SIZES, help="one size; default: all, or 320x640 with --quick")
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    if not args.peer_dir:
        _common.skip("the original repository, given by --peer-dir or HNERV_REPO")

    import torch
    import torch.nn.functional as F

    from vislab.systems.hnerv import STRIDES, HNeRV

    module = import_peer(args.peer_dir)
    torch.set_num_threads(args.threads)
    sizes = [args.size] if args.size else (["320x640 0.35M"] if args.quick else list(SIZES))
    rows, ratios, worst = [], {}, 0.0
    for size in sizes:
        frame_size, width = SIZES[size]
        torch.manual_seed(0)
        peer = build_peer(module, STRIDES[frame_size], width)
        widen(peer)
        ours = HNeRV(strides=STRIDES[frame_size], decoder_width=width)
        copy_weights(ours, peer)
        count = [sum(p.numel() for p in model.parameters()) for model in (ours, peer)]
        frames = torch.rand(args.batch, 3, *frame_size)
        with torch.no_grad():
            image = ours(frames)["image"]
            difference = (image - peer(frames)[0]).abs().max().item()
        worst = max(worst, difference)
        print(
            f"parity {size}: {count[0]} and {count[1]} parameters, largest difference {difference:.2e}, "
            f"deviation of the image {image.std():.2f}",
            flush=True,
        )
        if difference > 1e-5 or count[0] != count[1]:
            sys.exit("error: the two models differ, so their times are not comparable")

        # optimizer steps as in the configs of this project and in the script of the original
        our_adam = torch.optim.Adam(ours.parameters(), lr=1e-3, fused=True)
        peer_adam = torch.optim.Adam(peer.parameters(), lr=1e-3, weight_decay=0.0)

        def our_step(model=ours, adam=our_adam, frames=frames):
            adam.zero_grad()
            model(frames, mode="loss")["loss"].backward()
            adam.step()

        def peer_step(model=peer, adam=peer_adam, frames=frames):
            image, _, _ = model(frames)
            adam.zero_grad()
            F.mse_loss(image, frames).backward()
            adam.step()

        pairs = 7 if args.quick or frame_size[0] >= 640 else 15
        times = _common.interleave({"original": peer_step, "vislab": our_step}, pairs=pairs)
        for name in times:
            row = _common.timing_row(f"{name} {size}", times[name], times["original"])
            rows.append(row)
        key = size.split()[0]
        ratios[f"ratio_{key}"] = _common.ratio(times["vislab"]["wall"], times["original"]["wall"])
        ratios[f"cpu_ratio_{key}"] = _common.ratio(times["vislab"]["cpu"], times["original"]["cpu"])
    parity = f"largest difference of the images: {worst:.2e}; batch {args.batch}"
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"{parity}\n\n{table}", args.quick)
    _common.result(**ratios, parity=worst)


if __name__ == "__main__":
    main()
