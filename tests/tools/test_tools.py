"""Test each tool as a process, in a folder that is not the checkout: fast help, one message for invalid input; train,
resume, test, predict on a small video.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tests.helpers import TOOLS
from tests.helpers.warm import run_warm

SCRIPTS = sorted(path.name for path in TOOLS.glob("*.py"))

CONFIG = '''"""A small HNeRV on a made clip."""
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend
from torch.optim import Adam

from vislab.datasets.samplers import EpochSampler
from vislab.datasets.transforms import PackInputs
from vislab.datasets.video_frames import VideoFrames
from vislab.engine.hooks import CheckpointHook, VisualizationHook
from vislab.evaluation.video import VideoQuality
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.hnerv import HNeRV
from vislab.visualization import Visualizer

model = dict(
    type=HNeRV, strides=(4, 2, 2), embed_dim=4, encoder_width=8, decoder_width=8,
    data_preprocessor=dict(type=ImagePreprocessor),
)
dataset = dict(type=VideoFrames, source="CLIP", crop=(96, 96), pipeline=[dict(type=PackInputs)])
train_dataloader = dict(dataset=dataset, batch_size=2, num_workers=0, sampler=dict(type=EpochSampler, shuffle=True))
val_dataloader = dict(dataset=dataset, batch_size=2, num_workers=0, sampler=dict(type=EpochSampler, shuffle=False))
val_evaluator = dict(type=VideoQuality)
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=Adam, lr=1e-2))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1))
custom_hooks = [dict(type=VisualizationHook, number=2)]
visualizer = dict(type=Visualizer, vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)])
randomness = dict(seed=0)
'''


def run(tool: str, *args: object, cwd: Path) -> subprocess.CompletedProcess:
    return run_warm([TOOLS / tool, *args], cwd=cwd, env={**os.environ, "COLUMNS": "200"})


def ok(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, (done.returncode, done.stderr[-3000:])
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.stderr


def write_clip(path: Path, frames: int = 5) -> None:
    """A bright square moves over a dark ground."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 112, 96, "yuv420p"
        for i in range(frames):
            img = np.full((96, 112, 3), 50, np.uint8)
            img[20:60, 10 + 6 * i : 50 + 6 * i] = (220, 140, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(img, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with clip.mp4, tiny.py, and work/ trained for one epoch of two."""
    folder = tmp_path_factory.mktemp("tools")
    write_clip(folder / "clip.mp4")
    (folder / "tiny.py").write_text(CONFIG.replace("CLIP", str(folder / "clip.mp4")))
    done = run("train.py", "tiny.py", "--work-dir", "work", "--cfg-options", "train_cfg.max_epochs=1", cwd=folder)
    ok(done)
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_in_half_a_second(script, tmp_path):
    times = []
    for _ in range(3):  # the best of three: the machine may be busy with something else
        start = time.perf_counter()
        command = [sys.executable, str(TOOLS / script), "--help"]
        text = ok(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True))
        times.append(time.perf_counter() - start)
        if times[-1] < 0.5:
            break
    assert text.startswith("usage:") and len(text) > 200
    assert min(times) < 0.5


@pytest.mark.parametrize("script", sorted(path.name for path in TOOLS.glob("*.sh")))
def test_shell_scripts_say_how_they_are_used(script, tmp_path):
    done = subprocess.run(["bash", str(TOOLS / script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("usage:")


def test_train_writes_metrics_log_pictures_and_events(place):
    report = json.loads((place / "work" / "metrics.json").read_text())
    assert set(report) == {"metrics", "config", "checkpoint", "seconds"}
    assert report["metrics"]["psnr"] > 5 and report["checkpoint"].endswith("epoch_1.pth")
    (vis,) = (place / "work").glob("*/vis_data")
    assert len(list((vis / "vis_image").glob("*"))) == 2
    assert list(vis.glob("events.out.tfevents*"))


def test_resume_goes_on(place):
    text = ok(run("train.py", place / "tiny.py", "--work-dir", place / "work", "--resume", "--amp", cwd=place / "work"))
    assert "Epoch(train) [2]" in text and "Epoch(train) [1]" not in text
    assert json.loads((place / "work" / "metrics.json").read_text())["checkpoint"].endswith("epoch_2.pth")
    assert text.splitlines()[-1].startswith("psnr: ")

    done = run("analyze_logs.py", "work", "--keys", "loss", "psnr", "--out", "curves.png", cwd=place)  # both parts
    assert "psnr" in ok(done) and "step ms" in done.stdout
    assert cv2.imread(str(place / "curves.png")).shape[0] > 100


def test_test_writes_predictions_and_pictures(place):
    args = ["--work-dir", "tested", "--out", "tested/out.pkl", "--show-dir", "tested/show"]
    text = ok(run("test.py", "tiny.py", "work/epoch_1.pth", *args, cwd=place))
    report = json.loads((place / "tested" / "metrics.json").read_text())
    assert f"psnr: {report['metrics']['psnr']:.6g}" in text
    assert len(pickle.loads((place / "tested" / "out.pkl").read_bytes())) == 5
    assert len(list((place / "tested" / "show").glob("*.png"))) == 5


def test_predict_images_folder_video_and_unreadable_ones(place):
    (place / "photos" / "sub").mkdir(parents=True)
    img = np.full((96, 96, 3), 90, np.uint8)
    cv2.imwrite(str(place / "photos" / "a.png"), img)
    cv2.imwrite(str(place / "photos" / "sub" / "a.jpg"), img)
    (place / "photos" / "broken.png").write_bytes(b"no picture")
    inputs = ["photos", "clip.mp4", "photos/a.png", "missing.jpg"]
    done = run("predict.py", "tiny.py", "work/epoch_1.pth", *inputs, "--out", "found", "--batch-size", 2, cwd=place)
    message = refused(done)
    assert "4 of 6 inputs are done" in message and "broken.png" in message and "missing.jpg" in message
    for name in ("a.png", "sub/a.png", "a_2.png"):
        assert cv2.imread(str(place / "found" / name)) is not None
    with av.open(str(place / "found" / "clip.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5 and video.streams.video[0].average_rate == 10
    assert len(json.loads((place / "found" / "predictions.json").read_text())["clip"]) == 5


def test_check_trains_nothing(place):
    text = ok(run("train.py", "tiny.py", "--check", "--amp", cwd=place))
    assert "parameters: " in text and "train_batches: 3" in text and text.endswith("OK\n")
    assert not (place / "work_dirs").exists()


def test_misspelled_option(place):
    message = refused(run("train.py", "tiny.py", "--cfg-options", "optim_wrapper.optimizer.lrr=1", cwd=place))
    assert "lrr" in message and "'lr'" in message


def test_truncated_checkpoint(place):
    whole = (place / "work" / "epoch_1.pth").read_bytes()
    (place / "half.pth").write_bytes(whole[: len(whole) // 2])
    message = refused(run("test.py", "tiny.py", "half.pth", "--work-dir", "bad", cwd=place))
    assert "half.pth" in message and "truncated" in message


def test_checkpoint_of_another_model(place):
    torch.save({"state_dict": {"conv.weight": torch.zeros(3, 3)}}, place / "foreign.pth")
    message = refused(run("predict.py", "tiny.py", "foreign.pth", "clip.mp4", "--out", "bad", cwd=place))
    assert "foreign.pth" in message and "another model" in message


def test_get_flops(place):
    text = ok(run("get_flops.py", "tiny.py", "--shape", 64, 96, "--out", "flops.json", cwd=place))
    parts = {part["part"]: part for part in json.loads((place / "flops.json").read_text())["parts"]}
    stem = parts["encoder.0"]  # a convolution of stride 4 with 4x4 kernels, 3 to 8 channels
    assert stem["macs"] == 16 * 24 * 8 * 3 * 16 and stem["parameters"] == 8 * 3 * 16 + 8
    assert parts["HNeRV"]["macs"] == parts["encoder"]["macs"] + parts["decoder"]["macs"]
    assert "64x96" in text


@pytest.mark.parametrize("flags", [["--train"], pytest.param(["--loader-only"], marks=pytest.mark.slow)])
def test_benchmark(place, flags):
    ok(run("benchmark.py", "tiny.py", *flags, "--steps", 4, "--warmup", 1, "--out", "speed.json", cwd=place))
    report = json.loads((place / "speed.json").read_text())
    assert report["what"] in flags[0] and report["steps"] == 4 and report["batch_size"] == 2
    assert 0 < report["p50_ms"] <= report["p95_ms"] and report["peak_memory_mib"] > 50
