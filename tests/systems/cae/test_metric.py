"""Test the mean of the losses of masked pre-training."""

import pytest
import torch

from vislab.errors import DataError
from vislab.systems.cae import MaskedLosses


def evaluate(samples: list[dict]) -> dict[str, float]:
    metric = MaskedLosses()
    metric.process(None, samples[:1])
    metric.process(None, samples[1:])
    return metric.evaluate(len(samples))


def test_means():
    samples = [
        {"pred_reconstruction_loss": torch.tensor(v), "pred_alignment_loss": torch.tensor(2 * v)} for v in (1.0, 4.0)
    ]
    assert evaluate(samples) == {"masked/reconstruction": 2.5, "masked/alignment": 5.0}
    assert evaluate([{"pred_alignment_loss": torch.tensor(3.0)}]) == {"masked/alignment": 3.0}


def test_other_predictions_are_refused():
    with pytest.raises(DataError, match=r"a\.jpg has no losses"):
        evaluate([{"img_path": "a.jpg", "pred_label": 1}])
    one, other = ({f"pred_{name}_loss": torch.tensor(1.0)} for name in ("reconstruction", "alignment"))
    with pytest.raises(DataError, match="samples differ"):
        evaluate([one, other])
    with pytest.raises(DataError, match="no sample was evaluated"):
        MaskedLosses().compute_metrics([])
