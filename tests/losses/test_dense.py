"""Test SILog against its formula, and that it is never NaN."""

import numpy as np
import pytest
import torch

from vislab.losses import PixelCrossEntropy, SILogLoss


def test_silog_is_the_published_formula():
    rng = np.random.default_rng(0)
    prediction, target = rng.uniform(0.5, 9, (2, 1, 6, 8)), rng.uniform(0.5, 9, (2, 1, 6, 8))
    target[rng.random(target.shape) < 0.3] = 0
    e = np.log(prediction[target > 0]) - np.log(target[target > 0])
    expected = 10 * np.sqrt((e**2).mean() - 0.85 * e.mean() ** 2)
    given = SILogLoss()(torch.tensor(prediction), torch.tensor(target))
    assert given.dtype == torch.float32 and given.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", ["no valid pixel", "one pixel", "perfect", "nan label", "tiny prediction"])
def test_silog_never_gives_nan(case):
    prediction = torch.full((1, 1, 4, 4), 2.0)
    target = torch.full((1, 1, 4, 4), 2.0)
    if case == "no valid pixel":
        target = torch.zeros_like(target)
    elif case == "one pixel":
        target = torch.zeros_like(target)
        target[0, 0, 1, 1] = 3.0
    elif case == "nan label":
        target[0, 0, 0] = float("nan")
        target[0, 0, 1] = float("inf")
    elif case == "tiny prediction":
        prediction[0, 0, 0, 0] = 0.0
    prediction.requires_grad_()
    loss = SILogLoss()(prediction, target)
    loss.backward()
    assert loss.isfinite() and prediction.grad.isfinite().all()
    if case == "no valid pixel":
        assert loss.item() == 0 and not prediction.grad.any()


def test_silog_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = torch.full((1, 1, 8, 8), 2.0, dtype=torch.bfloat16)
        loss = SILogLoss()(prediction, torch.full((1, 1, 8, 8), 2.01))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(10 * 0.15**0.5 * np.log(2.01 / 2), rel=0.02)


def test_cross_entropy_leaves_ignored_pixels_out():
    logits, labels = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
    labels[0, :3] = 255
    expected = -logits.log_softmax(1).gather(1, labels.clamp(max=4)[:, None])[:, 0][labels != 255].mean()
    assert PixelCrossEntropy()(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    logits.requires_grad_()
    nothing = PixelCrossEntropy()(logits, torch.full((2, 6, 7), 255))
    nothing.backward()
    assert nothing.item() == 0 and logits.grad.abs().sum() == 0
