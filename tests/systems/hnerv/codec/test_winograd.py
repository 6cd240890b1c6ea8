"""Test Winograd's form of the stages against convolution, pixel shuffle and GELU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vislab.systems.hnerv.codec.winograd import WinogradStage, transform_matrices, use_winograd
from vislab.systems.hnerv.model import HNeRVDecoder


def test_matrices_give_a_correlation():
    outputs, kernels, inputs = transform_matrices()
    torch.manual_seed(0)
    data, weights = torch.randn(8, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = F.conv1d(data[None, None], weights[None, None])[0, 0]
    torch.testing.assert_close(outputs @ ((kernels @ weights) * (inputs @ data)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "batch, in_channels, channels, size, upscale",
    [(1, 7, 3, (40, 24), 2), (2, 3, 2, (17, 9), 3), (1, 4, 5, (1, 1), 1), (3, 2, 1, (33, 6), 4), (1, 1, 1, (16, 3), 5)],
)
def test_stages_are_equal(batch, in_channels, channels, size, upscale):
    torch.manual_seed(0)
    conv = nn.Conv2d(in_channels, channels * upscale**2, 5, padding=2)
    images = torch.randn(batch, in_channels, *size)
    with torch.inference_mode():
        expected = F.gelu(F.pixel_shuffle(conv(images), upscale))
        stage = WinogradStage(conv=conv, upscale=upscale)
        for inputs in (images, images.to(memory_format=torch.channels_last), images.flip(3).flip(3)):
            torch.testing.assert_close(stage(inputs), expected, rtol=0, atol=2e-5)


def test_the_decoder_is_equal():
    torch.manual_seed(0)
    decoder = HNeRVDecoder(strides=(5, 4, 2), widths=(12, 10, 8, 7), kernels=(1, 3, 5)).eval()
    embedding = torch.randn(2, 16, 2, 4)
    with torch.inference_mode():
        expected = decoder(embedding)
        use_winograd(decoder.stages)
        assert [type(stage) for stage in decoder.stages] == [nn.Sequential, nn.Sequential, WinogradStage]
        torch.testing.assert_close(decoder(embedding), expected, rtol=0, atol=1e-5)
