"""Test the benchmark for GPUs on the CPU: rows, parity first, and a reason for all that does not run."""

import math
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import gpu
from _gpu_cases import CASES, Candidate, Missing

CPU = torch.device("cpu")
ALL = [(b, d, c) for b in (1, 2) for d in ("float32", "bfloat16") for c in (False, True)]


def linear(weight: float) -> Candidate:
    model = nn.Linear(3, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    x = torch.ones(2, 3)
    return Candidate(model, lambda: model(x), lambda: model(x).sum())


def run(case, settings=ALL, end=math.inf) -> gpu.Report:
    report = gpu.Report()
    gpu.measure("a case", case, CPU, settings, report, small=True, end=end)
    return report


def test_each_setting_has_a_row_for_each_candidate():
    report = run(lambda device, batch, small: {"theirs": linear(1.0), "vislab": linear(1.0)})
    assert len(report.rows) == 2 * len(ALL) and not report.missing and len(report.parity) == 2
    first = report.rows[0]
    assert (first["candidate"], first["batch"], first["dtype"], first["mode"]) == ("theirs", 1, "float32", "eager")
    assert first["forward ratio"] == first["step ratio"] == "1.00" and float(first["step ms"]) > 0
    assert {(r["dtype"], r["mode"]) for r in report.rows} == {
        (d, m) for d in ("float32", "bfloat16") for m in ("eager", "compiled")
    }
    assert "All cases ran." in report.text() and "theirs" in report.text()


def test_what_does_not_run_has_its_reason():
    def absent(*_):
        raise Missing("the package nowhere")

    def broken(*_):
        raise RuntimeError("out of memory\nand more")

    fails = Candidate(nn.Identity(), lambda: torch.ones(1), lambda: 1 / 0)
    assert run(absent).missing == [f"a case, batch {b}: the package nowhere" for b in (1, 2)]
    assert run(broken).missing[0] == "a case, batch 1: RuntimeError: out of memory"
    assert len(run(lambda *_: {"vislab": fails}).missing) == len(ALL)
    beside = run(lambda *_: {"theirs": fails._replace(output=linear(1.0).output), "vislab": linear(1.0)}, ALL[:1])
    assert [row["candidate"] for row in beside.rows] == ["vislab"] and beside.rows[0]["step ratio"] == "1.00"
    assert beside.missing == ["a case, batch 1, float32, eager, theirs: ZeroDivisionError: division by zero"]
    late = run(lambda *_: {"vislab": linear(1.0)}, end=time.monotonic())
    assert not late.rows and "--minutes" in late.missing[0]


def test_a_candidate_that_differs_is_not_timed():
    report = run(lambda *_: {"theirs": linear(1.0), "vislab": linear(1.1)}, ALL[:1])
    assert [row["candidate"] for row in report.rows] == ["theirs"]
    assert report.missing == ["a case, batch 1, vislab: its output differs by 1.0e-01"]


@pytest.mark.parametrize("name", ["deformable attention", "tract layer"])
def test_small_cases_run_on_the_cpu(name):
    report = gpu.Report()
    gpu.measure(name, CASES[name], CPU, [(1, "float32", False)], report, small=True, end=math.inf)
    assert len(report.rows) + len(report.missing) >= 1
    assert all("the package" in line for line in report.missing)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_case_runs_on_the_cpu(name):
    report = gpu.Report()
    settings = [(1, "float32", False), (1, "bfloat16", True)]
    gpu.measure(name, CASES[name], CPU, settings, report, small=True, end=math.inf)
    assert report.rows or report.missing
    assert all("the package" in line or "repository" in line for line in report.missing), report.missing
