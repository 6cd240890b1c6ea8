"""Test datasets not divisible by batch size and processes: metrics of one process, no deadlock."""

import json

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.processes import run, run_two
from tests.helpers.toy_run import ToyDataset, make_runner, plain

SCRIPT = HELPERS / "uneven_batches.py"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_metrics_of_two_processes_are_those_of_one(tmp_path):
    """The second process has no sample of its own, as many as the first, or one less."""
    run(str(SCRIPT), str(tmp_path))
    run_two(SCRIPT, str(tmp_path))
    one, two = (json.loads((tmp_path / f"{count}.json").read_text()) for count in (1, 2))
    assert list(two["metrics"]) == ["1", "2", "5", "7", "8"]
    for length, metrics in one["metrics"].items():
        assert two["metrics"][length] == pytest.approx(metrics, rel=1e-7), length
    assert one["iterations"] == 2 * 5 and two["iterations"] == 2 * 3
    # the statistics of batch norms are the checkpoint's on both processes
    loader = {
        "dataset": {"type": ToyDataset, "length": 8, "pipeline": [plain]},
        "sampler": {"type": "EpochSampler", "shuffle": False},
        "batch_size": 2,
    }
    saved = str(tmp_path / "norms_2/epoch_2.pth")
    runner = make_runner(tmp_path / "again", custom_hooks=[], val_dataloader=loader, load_from=saved)
    assert two["with norms"] == pytest.approx(runner.val(), rel=1e-6)
