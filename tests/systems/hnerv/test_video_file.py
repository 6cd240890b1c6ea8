"""Test the .hnv file at the end of a run: its frames, rate, size and the logged numbers."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.helpers.hnv import small_hnv
from vislab.datasets.transforms import PackInputs
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import ConfigError
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.hnerv import HNeRV, VideoFileHook
from vislab.systems.hnerv.codec import HnvDecoder


def runner(tmp_path, model, lines):
    source = small_hnv(tmp_path / "source.hnv", frames=6)
    dataset = VideoFrames(source=str(source), crop=(12, 20), step=2, pipeline=[{"type": PackInputs}])
    return SimpleNamespace(
        model=model,
        val_loop=object(),
        val_dataloader=SimpleNamespace(dataset=dataset),
        work_dir=str(tmp_path),
        logger=SimpleNamespace(info=lines.append),
    )


def test_the_file_has_the_frames_of_the_network(tmp_path):
    torch.manual_seed(0)
    model = HNeRV(
        strides=(2, 2), embed_dim=4, encoder_width=8, decoder_width=12, min_width=6,
        data_preprocessor=ImagePreprocessor(channels_last=True),
    )  # fmt: skip
    lines = []
    run = runner(tmp_path, model.train(), lines)
    VideoFileHook(weight_bits=10, embedding_bits=10).after_train(run)
    assert model.training
    frames = run.val_dataloader.dataset.frames
    with HnvDecoder(tmp_path / "video.hnv") as decoder, torch.no_grad():
        decoded = np.stack(list(decoder.decode(range(len(decoder)))))
        images = model.eval().forward_tensor(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255)["image"]
        assert decoder.file.info.rate == 12.5  # every second frame of 25
        assert np.abs(decoded - 255 * images.permute(0, 2, 3, 1).numpy()).max() < 2
        size, bpp, psnr = map(float, re.search(r"(\d+) bytes, ([\d.]+) bits per pixel, ([\d.]+) dB", lines[0]).groups())
        assert size == (tmp_path / "video.hnv").stat().st_size
        assert bpp == pytest.approx(8 * size / (3 * 12 * 20), abs=1e-5)
        errors = np.square(decoded.astype(float) - frames).mean(axis=(1, 2, 3))
        assert psnr == pytest.approx((10 * np.log10(255**2 / errors)).mean(), abs=0.006)


def test_other_models_are_left_out(tmp_path):
    VideoFileHook().after_train(runner(tmp_path, torch.nn.Linear(1, 1), []))
    assert not (tmp_path / "video.hnv").exists()


def test_impossible_bits_are_refused():
    with pytest.raises(ConfigError, match="weight_bits=1"):
        VideoFileHook(weight_bits=1)
