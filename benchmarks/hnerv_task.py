"""Codec for machines: accuracy of a segmentation network on decoded frames, at the bytes of x265 and of plain HNeRV.

    python benchmarks/hnerv_task.py            # about 10 minutes on one core; an interrupted run continues
    python benchmarks/hnerv_task.py --quick

An FPN with EfficientNet-Lite0 is trained on the 90 training images of CamVid at 96x128 and frozen. The 30 validation
images, which are every sixth frame of one drive, are the video. They are stored with the codec with and without the
term of `encode --task`, at the same targets of bytes, and with x265 (medium, yuv420p, one thread), as the smallest file
that is not smaller. The table has all bytes of the .hnv file, those of the elementary stream of x265, the mean IoU of
the network's predictions on decoded frames against the labels, the share of pixels with the class of the original
frame, and the PSNR. No weight of the term is chosen by these figures: all that were run are shown.

Needs VISLAB_DATA with camvid and weights (tools/prepare_data.py).
"""

import json
import time
from pathlib import Path

import _common
import _video_codecs

WORK_DIR = Path(__file__).resolve().parents[1] / "work_dirs" / "hnerv_task"
STRIDES = (4, 4, 2)  # 96x128: embeddings of 3x4
FULL = {"bytes": (5000, 10000, 20000), "weights": (0.01,), "more": (10000, (0.003, 0.03, 0.1)), "epochs": 60,
        "steps": 150, "frames": 30}  # fmt: skip
QUICK = {"bytes": (6000,), "weights": (0.01,), "more": (6000, ()), "epochs": 4, "steps": 4, "frames": 6}


def network_config():
    """Return a config of the network, whose input has the size of the frames."""
    from mmengine.config import Config

    from vislab.datasets.semantic import CamVid
    from vislab.datasets.transforms import LoadImage, PackInputs
    from vislab.models.dense import SemanticSegmentor
    from vislab.models.fpn import FPNNetwork

    encoder = {"name": "tf_efficientnet_lite0", "pretrained": False}
    model = {"type": SemanticSegmentor, "network": {"type": FPNNetwork, "encoder": encoder}, "num_classes": 11}
    pipeline = [{"type": LoadImage, "min_size": 32}, {"type": PackInputs}]
    return Config({"model": model, "test_dataloader": {"dataset": {"type": CamVid, "pipeline": pipeline}}})


def train_network(path: Path, seed: int, steps: int) -> dict:
    """Train the network and store its weights, unless they exist; returns its metrics on the original frames."""
    import _timesnet_runs as runs
    import torch

    from vislab.io.checkpoint import load_checkpoint, save_checkpoint

    if not path.exists():
        torch.manual_seed(seed)
        model, rules = runs.build("camvid", "FPN", 5.0)
        job = {"task": "camvid", "seed": seed, "split": "report", "steps": steps, "every": steps, "lr": 3e-3,
               "images": None}  # fmt: skip
        found = runs.fit(model, rules, job)["history"][-1]
        save_checkpoint({"state_dict": model.state_dict(), "meta": {"found": found}}, path)
    return load_checkpoint(path)["meta"]["found"]


def score(model, items: list[dict], decoded) -> dict:
    """Return mIoU against labels, the share of equal classes and PSNR of decoded frames (T, H, W, 3) uint8."""
    import _timesnet_runs as runs
    import torch

    from vislab.evaluation.video import psnr

    images = [torch.tensor(frame).permute(2, 0, 1) for frame in decoded]  # (3, H, W) each
    seen = [{**item, "inputs": image} for item, image in zip(items, images, strict=True)]
    pairs = [
        (image[None].float() / 255, item["inputs"][None].float() / 255)
        for image, item in zip(images, items, strict=True)
    ]
    return {
        "miou": runs.evaluate("camvid", model.model, seen)["mIoU"],
        "same": sum(model.measure(*pair)["same_class"] for pair in pairs) / len(pairs),
        "psnr": sum(psnr(*pair).item() for pair in pairs) / len(pairs),
    }


def run_x265(frames, least: int):
    """Return bytes and decoded frames of the smallest x265 file of at least `least` bytes."""
    for crf in range(51, 5, -1):
        data = _video_codecs.encode(frames, "x265", crf=crf, rate=5)
        if len(data) >= least:
            return len(data), _video_codecs.decode(data, "x265")
    raise SystemExit(f"x265 has no file of {least} bytes")


def run_hnerv(frames, path: Path, size: int, epochs: int, seed: int, task) -> tuple[int, list, float]:
    """Return bytes, decoded frames and CPU seconds of a .hnv file of at most `size` bytes."""
    import cv2

    from vislab.systems.hnerv.codec import HnvDecoder
    from vislab.systems.hnerv.codec.encoding import EncodeOptions, Encoding
    from vislab.systems.hnerv.codec.plan import Target
    from vislab.systems.hnerv.codec.source import open_source

    folder = path.with_suffix(".frames")
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame[..., ::-1])
    options = EncodeOptions(target=Target(bytes=size), epochs=epochs, strides=STRIDES, seed=seed)
    path.unlink(missing_ok=True)
    began = time.process_time()
    Encoding(open_source(folder), path, options, task=task).run()
    seconds = time.process_time() - began
    with HnvDecoder(path) as decoder:
        return path.stat().st_size, list(decoder.decode(range(len(decoder)))), seconds


def measure(args, form: dict, work: Path) -> tuple[dict, dict]:
    """Run what is missing in WORK/results.json; returns the network's metrics on original frames, and all rows."""
    import _timesnet_runs as runs
    import numpy as np

    from vislab.apis.frozen import FrozenDense
    from vislab.io.atomic import write_text_atomically
    from vislab.systems.hnerv.codec.task import Task

    work.mkdir(parents=True, exist_ok=True)
    original = train_network(work / f"fpn_{args.seed}.pth", args.seed, form["steps"])
    model = FrozenDense(network_config(), work / f"fpn_{args.seed}.pth")
    items = runs.records("camvid", "report", "test")[: form["frames"]]
    frames = np.stack([item["inputs"].permute(1, 2, 0).numpy() for item in items])
    place = work / "results.json"
    rows = json.loads(place.read_text()) if place.exists() else {}

    def add(name: str, size: int, decoded, seconds: float | None = None) -> None:
        rows[name] = {"bytes": size, **score(model, items, decoded), "cpu": seconds}
        write_text_atomically(json.dumps(rows, indent=1), place)
        print(name, rows[name], flush=True)

    jobs = [(size, weight) for size in form["bytes"] for weight in (None, *form["weights"])]
    jobs += [(form["more"][0], weight) for weight in form["more"][1]]
    for size, weight in jobs:
        name = f"{size} s{args.seed} " + ("plain" if weight is None else f"task {weight:g}")
        if name not in rows:
            task = None if weight is None else Task(model.distance, model.measure, "FPN", weight)
            add(name, *run_hnerv(frames, work / f"{name}.hnv", size, form["epochs"], args.seed, task))
        other = f"{size} s{args.seed} x265"
        if other not in rows:
            add(other, *run_x265(frames, rows[name]["bytes"]))
    return original, rows


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the network and of the codec (default 0)")
    parser.add_argument("--work", type=Path, default=WORK_DIR)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    original, rows = measure(args, QUICK if args.quick else FULL, args.work / ("quick" if args.quick else "full"))
    table = _common.print_table(
        [
            {
                "target bytes, seed, codec": name,
                "bytes": row["bytes"],
                "mIoU": f"{row['miou']:.1f}",
                "same class": f"{row['same']:.3f}",
                "PSNR": f"{row['psnr']:.2f}",
                "encode CPU s": "" if row["cpu"] is None else f"{row['cpu']:.0f}",
            }
            for name, row in sorted(rows.items(), key=lambda pair: (int(pair[0].split()[0]), pair[0]))
            if f" s{args.seed} " in name
        ]
    )
    line = f"mIoU on the original frames: {original['mIoU']:.1f}"
    print(line)
    if not args.no_record:
        _common.record(f"{line}\n\n{table}", args.quick)
    _common.result(
        **{f"{name}: mIoU": round(row["miou"], 1) for name, row in rows.items() if f" s{args.seed} " in name}
    )


if __name__ == "__main__":
    main()
