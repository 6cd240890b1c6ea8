"""Test SSIM and MS-SSIM: known values, small images, and parity with pytorch_msssim."""

import pytest
import torch

from vislab.ops.ssim import ms_ssim, ms_ssim_scales, ssim


def pair(height=176, width=180, noise=0.1, batch=2):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, 3, height, width, generator=generator)
    return image, (image + noise * torch.randn(image.shape, generator=generator)).clamp(0, 1)


def test_equal_images_give_one_and_inverted_ones_less():
    image, _ = pair()
    assert torch.allclose(ssim(image, image), torch.ones(2))
    assert torch.allclose(ms_ssim(image, image), torch.ones(2))
    assert (ssim(image, 1 - image) < 0).all()


def test_constant_images_follow_the_luminance_formula():
    a, b = torch.full((1, 3, 20, 20), 0.2), torch.full((1, 3, 20, 20), 0.6)
    c1 = 0.01**2
    assert ssim(a, b).item() == pytest.approx((2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1), abs=1e-5)


@pytest.mark.parametrize(
    ("height", "scales"), [(10, 0), (11, 1), (20, 1), (21, 2), (80, 3), (81, 4), (160, 4), (161, 5), (2000, 5)]
)
def test_number_of_scales_that_fit(height, scales):
    assert ms_ssim_scales(height, 3000) == ms_ssim_scales(3000, height) == scales


def test_small_images_use_fewer_scales_and_refuse_more():
    image, other = pair(160, 200)
    assert torch.equal(ms_ssim(image, other), ms_ssim(image, other, scales=4))
    with pytest.raises(ValueError, match="sides above 160 pixels, got 160x200, where 4 fit"):
        ms_ssim(image, other, scales=5)
    with pytest.raises(ValueError, match="11 pixels or more"):
        ssim(image[..., :9], other[..., :9])


def test_weights_of_fewer_scales_are_renormalized():
    """With one scale, MS-SSIM is SSIM; without renormalizing it would be SSIM ** 0.0448."""
    image, other = pair(20, 20)
    assert torch.allclose(ms_ssim(image, other), ssim(image, other), atol=1e-5)


def test_gradients_are_finite_and_half_precision_is_computed_in_float32():
    image, other = pair(40, 40)
    image.requires_grad_()
    ssim(image, other).sum().backward()
    assert image.grad.isfinite().all() and image.grad.abs().sum() > 0
    assert ssim(image.detach().bfloat16(), other.bfloat16()).dtype == torch.float32


@pytest.mark.peer
@pytest.mark.parametrize("size", [(161, 200), (176, 183), (256, 320)])
def test_equals_pytorch_msssim(size):
    peer = pytest.importorskip("pytorch_msssim")
    image, other = pair(*size)
    for ours, theirs in ((ssim, peer.ssim), (ms_ssim, peer.ms_ssim)):
        expected = theirs(image, other, data_range=1, size_average=False)
        assert (ours(image, other) - expected).abs().max() < 1e-6
