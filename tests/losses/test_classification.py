"""Classification losses: hard and soft targets agree, and torch's numbers come out."""

import math

import pytest
import torch

from vislab.errors import ConfigError
from vislab.losses.classification import BinaryCrossEntropy, CrossEntropy


def test_losses_on_hard_and_soft_targets_agree():
    logits, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = torch.nn.functional.one_hot(target, 4).float()
    for kind in (CrossEntropy, BinaryCrossEntropy):
        for smoothing in (0.0, 0.1):
            loss = kind(label_smoothing=smoothing)
            torch.testing.assert_close(loss(logits, target), loss(logits, soft))
            assert loss(logits.bfloat16(), target).dtype == torch.float32
        with pytest.raises(ConfigError, match="label_smoothing"):
            kind(label_smoothing=1.0)
    wanted = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(CrossEntropy()(logits, target), wanted)


def test_smoothed_targets_by_hand():
    """Two classes, a smoothing of 0.2: the targets are 0.9 and 0.1."""
    logits = torch.tensor([[math.log(3.0), 0.0]])  # softmax 0.75, 0.25
    loss = CrossEntropy(label_smoothing=0.2)(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(-0.9 * math.log(0.75) - 0.1 * math.log(0.25))
    binary = BinaryCrossEntropy(label_smoothing=0.2)(logits, torch.tensor([0]))
    first = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)  # sigmoid of log 3 is 0.75
    second = -math.log(0.5)  # sigmoid of 0
    assert binary.item() == pytest.approx((first + second) / 2)
