"""Test the Triton kernels of deformable attention in Triton's interpreter, on the CPU, and when they are used."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from vislab.ops import ms_deform_attn as op

pytest.importorskip("triton")
SCRIPT = Path(__file__).parents[1] / "helpers" / "interpreted_kernel.py"


def interpreted(*job: str) -> dict:
    """The output of tests/helpers/interpreted_kernel.py. Triton chooses its interpreter when it is imported."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *job],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_differences(differences: dict[str, list[float]]) -> None:
    for dtype, (result, by_value, by_locations, by_weights) in differences.items():
        assert max(result, by_locations, by_weights) < 1e-5  # values are exact in float32
        assert by_value < (1e-5 if dtype == "torch.float32" else 2e-2)  # rounded to the dtype of the values


def test_result_and_gradients():
    differences = interpreted("shapes", "3")
    assert set(differences) == {"torch.float32", "torch.bfloat16"}
    check_differences(differences)


@pytest.mark.slow  # 4 minutes
def test_result_and_gradients_of_many_sizes():
    differences = interpreted("shapes", "200")
    assert set(differences) == {"torch.float32", "torch.bfloat16", "torch.float16"}
    check_differences(differences)


def test_special_inputs():
    found = interpreted("special")
    assert found and all(found.values()), found


@pytest.mark.slow
def test_operator():
    found = interpreted("operator")
    assert found and all(found.values()), found


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_used_on_a_gpu(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert op.kernel_agrees(torch.device("cuda", 0), dtype)


@pytest.fixture
def on_gpu(monkeypatch):
    """Lets the check run where there is no GPU, with results of its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(op, "_agrees", {})


def test_wrong_kernel_is_not_used(on_gpu, monkeypatch):
    monkeypatch.setattr(op, "_kernel", lambda: lambda *args: 1.01 * op.sample_levels(*args))
    with pytest.warns(UserWarning, match="uses grid_sample.*differs.* 1.0e-02"):
        assert not op.kernel_agrees(torch.device("cpu"), torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning
        assert not op.kernel_agrees(torch.device("cpu"), torch.float32)


def test_failing_kernel_is_not_used(on_gpu, monkeypatch):
    def fail():
        raise ImportError("No module named 'triton'")

    monkeypatch.setattr(op, "_kernel", fail)
    with pytest.warns(UserWarning, match="No module named 'triton'"):
        assert not op.kernel_agrees(torch.device("cpu"), torch.float32)


def test_agreeing_kernel_is_checked_once(on_gpu, monkeypatch):
    calls = []
    monkeypatch.setattr(op, "_kernel", lambda: calls.append(1) or op.sample_levels)
    assert all(op.kernel_agrees(torch.device("cpu"), torch.float32) for _ in range(3)) and len(calls) == 1


def test_turned_off(on_gpu, monkeypatch):
    monkeypatch.setattr(op, "_kernel", lambda: op.sample_levels)
    monkeypatch.setenv("VISLAB_TRITON", "0")
    assert not op.kernel_agrees(torch.device("cpu"), torch.float32)
    assert not op.kernel_agrees(torch.device("cpu"), torch.float64)


def test_random_state_is_kept(on_gpu, monkeypatch):
    monkeypatch.setattr(op, "_kernel", lambda: op.sample_levels)
    before = torch.get_rng_state()
    op.kernel_agrees(torch.device("cpu"), torch.float32)
    assert torch.equal(before, torch.get_rng_state())
