"""No model predicts from numbers that are none."""

import pytest
import torch

from vislab.errors import TrainingError
from vislab.models.finite import require_finite


def test_finite_outputs_pass_as_they_are():
    for output in (torch.randn(3, 4), torch.zeros(0), torch.arange(3), torch.full((2,), 6e4).half()):
        assert require_finite(output, "logits") is output


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_others_are_counted(value):
    output = torch.zeros(3, 4)
    output[1, :2] = value
    with pytest.raises(TrainingError, match="2 of 12 logits are not finite"):
        require_finite(output, "logits")
