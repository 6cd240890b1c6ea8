"""Test training on two gloo processes: same losses for the same total batch size, one set of files."""

import json

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.processes import free_port, run, run_two

SCRIPT = HELPERS / "losses.py"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_two_processes_equal_one(tmp_path):
    run(str(SCRIPT), str(tmp_path / "one"), "--batch-size", "8")
    text = run_two(SCRIPT, str(tmp_path / "two"), "--batch-size", "4")
    assert "of 2: MMDistributedDataParallel" in text
    one, two = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("one", "two"))
    assert len(one) == len(two) == 20
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) <= 1e-5
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text())["metrics"] for name in ("one", "two")]
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-5)
    checkpoint = torch.load(tmp_path / "two/iter_20.pth", weights_only=True)
    assert len(checkpoint["random_state"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_two_processes_resume_inside_an_accumulation_window(tmp_path):
    """Each rank's own gradients and random states come back, bit for bit."""
    text = run_two(HELPERS / "resumed_steps.py", str(tmp_path))
    assert text.count("iter_5.pth, equal: True") == 2
    assert len(torch.load(tmp_path / "broken/iter_5.pth", weights_only=True)["accumulation"]["gradients"]) == 2


def test_launcher_without_its_environment_says_what_to_do(monkeypatch):
    from vislab.engine.distributed import init_cpu_process_group
    from vislab.errors import ConfigError

    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="RANK, which is not set. Start the run with tools/dist_train.sh"):
        init_cpu_process_group("pytorch")
    with pytest.raises(ConfigError, match="launcher='torch'"):
        init_cpu_process_group("torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_a_group_of_one_trains_on_the_cpu(tmp_path, monkeypatch):
    """The quick form of the test above: no CUDA device is asked for, the model is wrapped, the run ends."""
    from tests.helpers.toy_run import make_runner

    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, value)
    try:
        runner = make_runner(tmp_path, total=1, launcher="pytorch")
        runner.train()
        assert type(runner.model).__name__ == "MMDistributedDataParallel"
        assert torch.distributed.get_backend() == "gloo" and (tmp_path / "epoch_1.pth").exists()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
