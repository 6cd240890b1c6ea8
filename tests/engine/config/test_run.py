"""Test the properties of a run that components are compared with."""

import numpy as np
import pytest

from vislab.engine.config.run import Run


@pytest.mark.parametrize(
    "train_cfg, by_epoch, steps",
    [
        ({"by_epoch": True, "max_epochs": 3}, True, 3),
        ({"max_epochs": 3}, True, 3),
        ({"max_iters": 100}, False, 100),
        ({"by_epoch": True, "max_epochs": "3"}, True, None),
        ({"by_epoch": np.arange(3), "max_iters": 100}, False, 100),
        (None, False, None),
    ],
)
def test_length(train_cfg, by_epoch, steps):
    run = Run({"train_cfg": train_cfg})
    assert (run.by_epoch, run.steps) == (by_epoch, steps)
