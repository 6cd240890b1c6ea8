"""Test the arms of the probe benchmark: configs, equal compute, one run per arm and seed, summary."""

import importlib
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def benchmark():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("cae_probe")
    finally:
        sys.path.remove(folder)


@pytest.fixture
def costs(benchmark):
    names = {name for name, trained in benchmark.ARMS.values() if trained}
    return {name: 1e6 * (1 + i) for i, name in enumerate(sorted(names, key=lambda n: n != benchmark.BASE))}


def test_arms_are_configs_with_the_same_encoder(benchmark):
    from vislab.engine.config.load import load_config

    runs = importlib.import_module("_cae_runs")
    configs = [load_config(runs.config_path(name)) for name, _ in runs.ARMS.values() if name != "pixels"]
    first = configs[0]
    for cfg in configs:
        assert cfg.model.encoder == first.model.encoder
        assert cfg.optim_wrapper.optimizer == first.optim_wrapper.optimizer
        assert cfg.train_dataloader.batch_size == first.train_dataloader.batch_size
        assert cfg.train_dataloader.dataset.split == "cifar10/train"
    names = [name for name, trained in runs.ARMS.values() if trained]
    assert len(set(names)) == len(names)  # a folder each


def test_arms_cost_the_same(benchmark, costs):
    jobs = benchmark.jobs_of("full", benchmark.FORMS["full"] | {"images": 100_000}, costs, [*benchmark.ARMS], [0, 1, 2])
    for job in jobs:
        name, trained = benchmark.ARMS[job["arm"]]
        assert not trained or job["epochs"] * job["images"] * costs[name] == pytest.approx(1e11, rel=0.01)
        assert job["images"] <= benchmark.WHOLE
    assert benchmark.length_of(benchmark.BASE, costs, 20000) == (1, 20000)
    assert benchmark.length_of(benchmark.BASE, {benchmark.BASE: 2.0}, 50000) == (3, 16667)
    pairs = [(job["arm"], job["seed"]) for job in jobs]
    assert len(set(pairs)) == len(pairs) == 3 * len(benchmark.ARMS) - 2  # raw pixels have one
    assert [job["seed"] for job in jobs] == sorted(job["seed"] for job in jobs)
    other = benchmark.jobs_of("full", benchmark.FORMS["full"], costs, [*benchmark.ARMS], [0])
    assert benchmark.file_of(jobs[0]) != benchmark.file_of(other[0])  # another length, another folder


def test_differences_are_paired_with_random_initialization(benchmark, costs):
    arms = list(benchmark.ARMS)
    run = lambda arm, seed, accuracy: {
        "arm": arm, "seed": seed, "linear_mean": accuracy, "warned": seed == 0, "epochs": 3, "images": 500,
        "cpu": 10.0
    }  # fmt: skip
    runs = [run(arms[0], 0, 50.0), run(arms[0], 1, 40.0)]
    runs += [run("random initialization", 0, 35.0), run("random initialization", 1, 29.0)]
    rows = {row["arm"]: row for row in benchmark.summarize(runs, costs)}
    assert rows[arms[0]]["over random"] == "+13.00 +- 2.83" and rows[arms[0]]["linear, mean"] == "45.00 +- 7.07"
    assert rows[arms[0]]["warned"] == "1 of 2" and rows["random initialization"]["over random"] == ""
    assert rows[arms[0]]["images"] == "1.5k"


def test_a_stored_run_is_not_repeated(benchmark, costs, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("_cae_runs"), "WORK_DIR", tmp_path)
    settings = benchmark.FORMS["quick"]
    jobs = benchmark.jobs_of("quick", settings, costs, [*benchmark.ARMS][:1], [0])
    benchmark.write(benchmark.file_of(jobs[0]), {**jobs[0], "linear_mean": 12.0})
    monkeypatch.setattr(benchmark.multiprocessing, "get_context", None)  # nothing is started
    assert benchmark.run_all(jobs, 1)[0]["linear_mean"] == 12.0
    others = benchmark.jobs_of("quick", settings | {"train": 100}, costs, [*benchmark.ARMS][:1], [0])
    assert benchmark.stored(others[0]) is None  # other settings


def test_effective_rank_counts_directions_beyond_the_position():
    runs = importlib.import_module("_cae_runs")
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(1, 5, 16, generator=generator)  # the same in all images
    spread = torch.randn(200, 5, 4, generator=generator) @ torch.linalg.qr(torch.randn(16, 4, generator=generator))[0].T
    assert runs.effective_rank(10 * position + spread) == pytest.approx(4, abs=0.05)
