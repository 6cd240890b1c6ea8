"""Test the dense benchmark of pre-training: equal treatment of both starts, no test images in tuning, pairs."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def benchmark():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("cae_dense")
    finally:
        sys.path.remove(folder)


def test_both_starts_are_treated_alike(benchmark):
    jobs = benchmark.tuning_jobs("full")
    given = lambda start: [{**job, "start": ""} for job in jobs if job["start"] == start]
    assert given("random") == given("CAE") and len(jobs) == 8 * len(benchmark.GRID)
    assert {job["split"] for job in jobs} == {"tuning"}
    assert not {job["seed"] for job in jobs} & set(benchmark.FORMS["full"]["report"]["seeds"])


def run(row, seed, **values):
    task, network, start = row
    return {"task": task, "network": network, "start": start, "seed": seed, "history": [values], **values}


def test_the_best_rates_of_a_row_are_reported(benchmark):
    tuning = [
        {**run(row, 100, abs_rel=abs(lr - 2), mIoU=-abs(lr - 3)), "lr": lr, "share": 1.0}
        for row in benchmark.ROWS
        for lr in (1, 2, 3)
    ]
    jobs = benchmark.report_jobs("full", tuning, (0, 1, 2))
    assert {(job["task"], job["lr"]) for job in jobs} == {("kitchen", 2), ("camvid", 3)}  # lower, higher is better
    assert all(job["encoder_seed"] == job["seed"] and job["split"] == "report" for job in jobs)
    assert len(jobs) == 3 * len(benchmark.ROWS)


def test_differences_are_paired(benchmark):
    row = ("kitchen", "FPN")
    runs = [
        {**run((*row, start), seed, abs_rel=value, rmse=1.0, d1=0.5), "lr": 1e-3, "share": 1.0}
        for start, seed, value in (("random", 0, 0.3), ("CAE", 0, 0.2), ("random", 1, 0.4), ("CAE", 1, 0.5))
    ]
    assert benchmark.differences(runs, *row) == pytest.approx([-0.1, 0.1])
    table = benchmark.result_table(runs)
    assert len(table) == 2 and table[1]["better in"] == "1 of 2 seeds"


def test_no_test_image_is_used_for_pre_training():
    runs, splits = importlib.import_module("_cae_dense_runs"), importlib.import_module("_timesnet_runs").SPLITS
    assert runs.PHOTOS["rgbd_kitchen"][1] <= min(splits["kitchen"]["report"]["test"])
    assert set(runs.PHOTOS) == {"coco_panoptic/train", "camvid/train", "rgbd_kitchen"}
    assert min(splits["camvid"]["report"]["test"]) == 90  # after the images of train.txt, those of camvid/train
