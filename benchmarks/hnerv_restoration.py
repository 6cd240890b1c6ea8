"""Interpolation and inpainting with HNeRV on Bunny at 160x320, beside simple controls, in dB.

    python benchmarks/hnerv_restoration.py           # about 15 minutes on one core; trained networks are kept
    python benchmarks/hnerv_restoration.py --quick

Interpolation (configs/hnerv/hnerv_bunny_160x320_interpolation_cpu.py): PSNR of frames 1, 3, ..., 129, which the network
is not trained on, with the embedding of the frame itself (the encoder sees it), with the mean of the embeddings of both
neighbors, and of the mean of both neighbors' pixels as the control. Inpainting (hnerv_bunny_160x320_inpainting_cpu.py):
PSNR of whole frames and inside the hidden boxes, of HNeRV, of the masked frame, and of OpenCV's inpainting (Telea's
method, radius 3) as the control. The masked frame with HNeRV's boxes pasted into it is "masked, boxes by HNeRV".
"""

import sys
from collections.abc import Callable
from pathlib import Path

import _common

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "configs/hnerv/hnerv_bunny_160x320_{}_cpu.py"


def trained(kind: str, seed: int, work: Path, quick: bool):
    """Return the network of a config after training, and its frames (T, 3, H, W) in [0, 1]."""
    import torch

    from vislab.apis import build_model, load, train
    from vislab.datasets.video_frames import VideoFrames

    config = load(REPOSITORY / CONFIG.format(kind))
    if quick:
        config.train_cfg.update(max_epochs=1, val_interval=1)
        config.default_hooks.checkpoint.update(interval=1)
        config.train_dataloader.dataset.update(stop=16)
        config.val_dataloader.dataset.update(stop=16)
    folder = work / f"{kind}_{seed}"
    last = folder / f"epoch_{config.train_cfg.max_epochs}.pth"
    if not last.exists():
        train(config, work_dir=folder, seed=seed, resume=True)
    model = build_model(config, last)
    clip = VideoFrames(source="bunny", crop=(640, 1280), resize=(160, 320), stop=16 if quick else None)
    return model, torch.tensor(clip.frames).permute(0, 3, 1, 2).float() / 255


def decibels(images, frames, where=None) -> float:
    """Return the mean PSNR of images and frames (T, 3, H, W), of the pixels with 1 in `where` (H, W)."""
    error = (images - frames).square()
    if where is not None:
        error = error[..., where.bool()]
    return float((-10 * error.flatten(1).mean(1).clamp(min=1e-10).log10()).mean())


def batched(function: Callable, values):
    import torch

    with torch.no_grad():
        return torch.cat([function(part) for part in values.split(8)])


def interpolation(model, frames) -> dict[str, float]:
    """Return PSNR by method, of odd frames between two even ones."""
    embeddings = batched(model.encode, frames)  # (T, d, h, w)
    last = (len(frames) - 1) // 2 * 2
    before, between, after = (slice(start, stop, 2) for start, stop in ((0, last), (1, last), (2, last + 1)))
    return {
        "embedding of the frame": decibels(batched(model.decode, embeddings[between]), frames[between]),
        "mean of the neighbors' embeddings": decibels(
            batched(model.decode, (embeddings[before] + embeddings[after]) / 2), frames[between]
        ),
        "mean of the neighbors' pixels": decibels((frames[before] + frames[after]) / 2, frames[between]),
    }


def inpainting(model, frames) -> dict[str, tuple[float, float]]:
    """Return PSNR of whole frames and inside the boxes, by method."""
    import cv2
    import numpy as np
    import torch

    from vislab.systems.hnerv.model import visible_pixels

    visible = visible_pixels(frames, model.hidden_boxes)
    hidden = (1 - visible).byte().numpy()
    predicted = batched(lambda part: model.decode(model.encode(part)), frames)
    pixels = (frames * visible * 255).round().byte().permute(0, 2, 3, 1).numpy()
    control = np.stack([cv2.inpaint(image, hidden, 3, cv2.INPAINT_TELEA) for image in pixels])
    images = {
        "HNeRV": predicted,
        "masked, boxes by HNeRV": frames * visible + predicted * (1 - visible),
        "masked, boxes by OpenCV": torch.tensor(control).permute(0, 3, 1, 2).float() / 255,
        "masked": frames * visible,
    }
    return {name: (decibels(x, frames), decibels(x, frames, 1 - visible)) for name, x in images.items()}


def main() -> None:
    sys.path.insert(0, str(REPOSITORY))
    parser = _common.parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "work_dirs" / "hnerv_restoration")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    work = args.work / "quick" if args.quick else args.work
    rows = []
    for name, value in interpolation(*trained("interpolation", args.seed, work, args.quick)).items():
        rows.append({"task": "interpolation", "method": name, "PSNR": f"{value:.2f}", "PSNR in boxes": ""})
    for name, (whole, inside) in inpainting(*trained("inpainting", args.seed, work, args.quick)).items():
        rows.append({"task": "inpainting", "method": name, "PSNR": f"{whole:.2f}", "PSNR in boxes": f"{inside:.2f}"})
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(
            f"PSNR in dB of frames not trained on, and of hidden boxes; seed {args.seed}\n\n{table}", args.quick
        )
    key = {"interpolation": "PSNR", "inpainting": "PSNR in boxes"}
    _common.result(**{f"{row['method']}: {key[row['task']]}": float(row[key[row["task"]]]) for row in rows})


if __name__ == "__main__":
    main()
