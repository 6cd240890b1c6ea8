"""Test the CPU example with a few frames: from the video to metrics.json and both images, and resuming."""

import json

import cv2
import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY
from vislab.engine.config.load import load_config
from vislab.engine.runner import Runner

CONFIG = REPOSITORY / "configs/hnerv/hnerv_bunny_160x320_cpu.py"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    for t in range(6):
        frame = np.full((48, 96, 3), 60, np.uint8)
        frame[12:30, 8 * t : 8 * t + 20] = (40, 160, 230)
        cv2.imwrite(str(folder / f"{t}.png"), frame)
    return folder


def run(video, work_dir, epochs=4, resume=False, stop_after=None):
    loaders = ("train_dataloader", "val_dataloader")
    options = {f"{name}.dataset.crop": (40, 80) for name in loaders} | {
        f"{name}.dataset.resize": (20, 40) for name in loaders
    }
    options |= {
        "source": str(video),
        "model.strides": (5, 2),
        "model.decoder_width": 16,
        "model.encoder_width": 8,
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": 2,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.checkpoint.max_keep_ckpts": -1,
    }
    config = load_config(CONFIG, options)
    config.work_dir = str(work_dir)
    config.resume = resume
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def test_a_run_ends_with_metrics_curve_and_sheet(video, tmp_path):
    runner = run(video, tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(saved["metrics"]) == {"psnr", "psnr_8bit", "ms_ssim", "ms_ssim_8bit", "ms_ssim_scales"}
    assert saved["metrics"]["psnr"] > 10

    sheet = cv2.imread(str(tmp_path / "run" / "reconstruction.png"))
    assert sheet.shape == (3 * (20 + 20), 3 * 40, 3)
    # the first frame of the sheet is the video's first, in the right colors
    expected = cv2.resize(cv2.imread(str(video / "0.png"))[4:44, 8:88], (40, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(sheet[20:40, :40].astype(int) - expected).max() <= 1

    assert cv2.imread(str(tmp_path / "run" / "curves.png")).shape[1] == 1500  # loss, psnr, ms_ssim
    assert len(list((tmp_path / "run").glob("*/vis_data/vis_image/*"))) == 2  # one frame at each validation
    curves = runner.message_hub.get_info("curves")
    assert [epoch for epoch, _ in curves["loss"]] == [1, 2, 3, 4]
    assert [epoch for epoch, _ in curves["psnr"]] == [2, 4]
    assert curves["loss"][-1][1] < curves["loss"][0][1]

    learning_rate = runner.optim_wrapper.get_lr()["lr"][0]
    assert 0 < learning_rate < 2e-4  # of 2e-2: the schedule ends with the run


def test_resuming_gives_the_same_weights_and_the_whole_curve(video, tmp_path):
    whole = run(video, tmp_path / "whole")
    (tmp_path / "again").mkdir()
    checkpoint = tmp_path / "whole" / "epoch_2.pth"
    again = run(video, tmp_path / "again", resume=str(checkpoint))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    curves = again.message_hub.get_info("curves")
    assert curves == whole.message_hub.get_info("curves")
