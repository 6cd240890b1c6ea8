"""Test step A in two gloo processes: the same exits and weights as one process with the whole batch."""

import json

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.processes import run, run_two

SCRIPT = HELPERS / "sampled_exits.py"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")
def test_two_processes_with_drawn_exits_equal_one(tmp_path):
    run(str(SCRIPT), str(tmp_path / "one"), "--batch-size", "4")
    text = run_two(SCRIPT, str(tmp_path / "two"), "--batch-size", "2")
    assert "of 2: MMDistributedDataParallel" in text
    files = (tmp_path / "one/log0.json", tmp_path / "two/log0.json", tmp_path / "two/log1.json")
    one, first, second = (json.loads(file.read_text()) for file in files)
    exits = [step["exit"] for step in one]
    assert exits == [step["exit"] for step in first] == [step["exit"] for step in second]
    assert len(set(exits)) > 2
    assert any(b > a for a, b in zip(exits, exits[1:], strict=False))  # deeper layers rest and go on
    for log in (one, first, second):
        for step in log:
            assert step["moved"] == [layer < step["exit"] for layer in range(4)]
    assert any(a["masks"] != b["masks"] for a, b in zip(first, second, strict=True))
    for a, b, whole in zip(first, second, one, strict=True):
        assert a["masks"] + b["masks"] == whole["masks"]

    names = ("one/weights0.pth", "two/weights0.pth", "two/weights1.pth")
    one, first, second = (torch.load(tmp_path / name, weights_only=True) for name in names)
    for key in one:
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(
            first[key], one[key], rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
