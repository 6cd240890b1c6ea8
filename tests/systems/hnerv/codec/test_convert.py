"""Test the conversion of the paper's quantized videos, also with the Big Buck Bunny that the authors published."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vislab.datasets.video_frames import VideoFrames
from vislab.errors import CheckpointError, ConfigError
from vislab.io.checkpoint import load_checkpoint
from vislab.systems.hnerv.codec import DecoderSpec, HnvDecoder, VideoInfo, dequantize, write_hnv
from vislab.systems.hnerv.codec.convert import convert_file, from_published


def entry(shape, axis):
    """Quantized values along an axis, None for a scalar, in the form of the published files."""
    quant = torch.randint(0, 256, shape, dtype=torch.uint8)
    if axis is None:
        return {"quant": quant, "min": torch.tensor(-0.3), "scale": torch.tensor(0.01)}
    sides = [1 if i == axis else n for i, n in enumerate(shape)]
    return {"quant": quant, "min": torch.rand(sides).half() - 1, "scale": torch.rand(sides).half() / 100 + 1e-3}


def published():
    torch.manual_seed(0)
    model = {
        "decoder.0.conv.downconv.weight": entry((8, 4, 1, 1), 0),
        "decoder.0.conv.downconv.bias": entry((8,), None),
        "decoder.1.conv.upconv.0.weight": entry((63, 8, 1, 1), 1),
        "decoder.1.conv.upconv.0.bias": entry((63,), None),
        "decoder.2.conv.upconv.0.weight": entry((24, 7, 3, 3), 0),
        "decoder.2.conv.upconv.0.bias": entry((24,), None),
        "head_layer.weight": entry((3, 6, 3, 3), None),
        "head_layer.bias": entry((3,), None),
    }
    return {"embed": entry((5, 4, 2, 3), 0), "model": model}


def test_values_are_min_plus_scale_times_quant(tmp_path):
    checkpoint = published()
    segment = from_published(checkpoint)
    assert segment.spec == DecoderSpec(4, (3, 2), (8, 7, 6), (1, 3)) and segment.frames == 5
    values = {
        name: e["min"].float() + e["scale"].float() * e["quant"].float() for name, e in checkpoint["model"].items()
    }
    write_hnv(tmp_path / "a.hnv", VideoInfo((12, 18)), [segment])
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        ours = decoder.weights(0)
        assert all(torch.equal(a, b) for a, b in zip(ours.values(), values.values(), strict=True))
        assert ours.keys() == dequantize(segment.weights).keys()
        e = checkpoint["embed"]
        expected = e["min"].float() + e["scale"].float() * e["quant"].float()
        assert torch.equal(decoder.embeddings((0, i) for i in range(5)), expected)


def test_files_are_converted_with_their_rate(tmp_path):
    torch.save(published(), tmp_path / "video.pth")
    convert_file(tmp_path / "video.pth", tmp_path / "a.hnv", fps=29.97)
    with HnvDecoder(tmp_path / "a.hnv") as decoder:
        assert decoder.frame(4).shape == (12, 18, 3)
        assert float(decoder.file.info.rate) == pytest.approx(29.97, abs=1e-3)
    with pytest.raises(ConfigError, match="fps=0"):
        convert_file(tmp_path / "video.pth", tmp_path / "a.hnv", fps=0)


@pytest.mark.parametrize("damage", ["embed", "model", "name", "entry"])
def test_other_checkpoints_are_refused(damage):
    checkpoint = published()
    if damage == "name":
        checkpoint["model"]["decoder.x.conv.weight"] = checkpoint["model"].pop("decoder.1.conv.upconv.0.weight")
    elif damage == "entry":
        del checkpoint["model"]["head_layer.bias"]["min"]
    else:
        del checkpoint[damage]
    with pytest.raises(CheckpointError, match="not a quantized video"):
        from_published(checkpoint)


@pytest.mark.peer
@pytest.mark.slow
def test_published_bunny_has_33_54_db(tmp_path):
    """checkpoints/quant_vid.pth of a checkout of haochen-rye/HNeRV at HNERV_REPO; every fourth frame, 33 in all."""
    path = Path(os.environ.get("HNERV_REPO", ""), "checkpoints/quant_vid.pth")
    if not path.is_file():
        pytest.skip("HNERV_REPO is not set to a checkout of the original repository")
    write_hnv(tmp_path / "bunny.hnv", VideoInfo((640, 1280)), [from_published(load_checkpoint(path))])
    frames = VideoFrames(source="bunny", crop=(640, 1280)).frames
    numbers = range(0, 132, 4)
    exact, rounded = [], []
    with HnvDecoder(tmp_path / "bunny.hnv") as decoder, torch.inference_mode():
        for number, pixels in zip(numbers, decoder.decode(numbers), strict=True):
            image = decoder.network(0)(decoder.embeddings([(0, number)]))[0].permute(1, 2, 0).double().numpy()
            exact.append(-10 * np.log10(((image - frames[number] / 255.0) ** 2).mean()))
            rounded.append(-10 * np.log10(((pixels / 255.0 - frames[number] / 255.0) ** 2).mean()))
        assert 8 * decoder.file.size / (132 * 640 * 1280) < 0.1096  # the published code counts 0.1096 without its table
    assert np.mean(exact) == pytest.approx(33.54, abs=0.005)
    assert np.mean(rounded) == pytest.approx(33.52, abs=0.005)
