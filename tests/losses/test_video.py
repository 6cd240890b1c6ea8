"""Test L2Loss and Fusion6Loss: known values, float32 under autocast, built by name."""

import pytest
import torch

from vislab.losses import Fusion6Loss, L2Loss
from vislab.ops.ssim import ssim
from vislab.registry import MODELS


def test_l2_is_the_mean_squared_error():
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    assert L2Loss()(a, b).item() == pytest.approx(0.25)


def test_fusion6_mixes_l1_and_ssim():
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24)
    expected = 0.7 * (a - b).abs().mean() + 0.3 * (1 - ssim(a, b).mean())
    assert torch.allclose(Fusion6Loss()(a, b), expected)
    assert Fusion6Loss()(a, a).item() == pytest.approx(0, abs=1e-5)
    assert torch.allclose(Fusion6Loss(l1_weight=1.0)(a, b), (a - b).abs().mean())


@pytest.mark.parametrize("name", ["L2Loss", "Fusion6Loss"])
def test_float32_under_autocast(name):
    loss = MODELS.build({"type": name})
    torch.manual_seed(0)
    a, b = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = loss(a, b)
    assert low.dtype == torch.float32
    assert torch.allclose(low, loss(a, b), atol=1e-6)
