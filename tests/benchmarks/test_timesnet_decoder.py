"""Test that the decoder benchmark selects the learning rates of all rows on separate images and seeds."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def benchmark():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("timesnet_decoder")
    finally:
        sys.path.remove(folder)


def test_tuning_sees_nothing_that_is_reported(benchmark):
    runs = importlib.import_module("_timesnet_runs")
    for splits in runs.SPLITS.values():
        tuning, reported = splits["tuning"], splits["report"]
        assert not set(tuning["test"]) & set(tuning["train"])
        assert {*tuning["test"], *tuning["train"]} == set(reported["train"])
        assert not set(reported["test"]) & set(reported["train"])
    stages = benchmark.STAGES["full"]
    assert not set(stages["tuning"]["seeds"]) & set(stages["report"]["seeds"])


def test_every_row_is_tuned_alike(benchmark):
    jobs = benchmark.tuning_jobs(benchmark.STAGES["full"]["tuning"])
    rows = {(job["task"], job["variant"]) for job in jobs}
    assert len(rows) == len(benchmark.TASKS) * len(benchmark.VARIANTS)
    given = lambda row: [{**j, "task": "", "variant": ""} for j in jobs if (j["task"], j["variant"]) == row]
    assert all(given(row) == given(("camvid", "FPN")) for row in rows)
    assert {job["split"] for job in jobs} == {"tuning"}


def test_the_best_rates_of_a_row_are_reported(benchmark):
    def run(task, variant, lr, **metrics):
        return {"task": task, "variant": variant, "lr": lr, "output_mult": 1.0, "history": [metrics]}

    tuning = [
        run(task, variant, lr, abs_rel=abs(lr - 2), mIoU=-abs(lr - 3))
        for task in benchmark.TASKS
        for variant in benchmark.VARIANTS
        for lr in (1, 2, 3)
    ]
    jobs = benchmark.report_jobs(benchmark.STAGES["full"]["report"], tuning)
    assert {(job["task"], job["lr"]) for job in jobs} == {("kitchen", 2), ("camvid", 3)}  # lower, higher is better
    assert len(jobs) == 3 * len(benchmark.TASKS) * len(benchmark.VARIANTS)
    table = benchmark.report.tuning_table(tuning, "kitchen", [(1, 1.0), (2, 1.0), (3, 1.0)])
    assert table[0]["lr 2, outputs x 1"] == "**0**" and table[0]["lr 1, outputs x 1"] == "1"


def test_a_stored_run_is_not_repeated(benchmark, tmp_path):
    job = benchmark.tuning_jobs(benchmark.STAGES["quick"]["tuning"])[0]
    store = tmp_path / "tuning.json"
    store.write_text(benchmark.json.dumps([{**job, "lr": 5.0}, {**job, "history": [{"step": 1}], "seconds": 1.0}]))
    assert benchmark.run_all([job], store, workers=1) == [{**job, "history": [{"step": 1}], "seconds": 1.0}]
