"""Test the arms of the probe benchmark: configs, equal compute, one run per arm and seed, summary."""

import importlib
import sys
from pathlib import Path

import pytest


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
    jobs = benchmark.jobs_of("full", benchmark.FORMS["full"] | {"epochs": 840}, costs, list(benchmark.ARMS))
    for job in jobs:
        name, trained = benchmark.ARMS[job["arm"]]
        assert not trained or job["epochs"] * costs[name] == pytest.approx(840e6, rel=0.01)
    assert benchmark.epochs_of(max(costs, key=costs.get), costs, 1) == 1
    pairs = [(job["arm"], job["seed"]) for job in jobs]
    assert len(set(pairs)) == len(pairs) == 3 * len(benchmark.ARMS) - 2  # raw pixels have one
    assert [job["seed"] for job in jobs] == sorted(job["seed"] for job in jobs)
    other = benchmark.jobs_of("full", benchmark.FORMS["full"], costs, list(benchmark.ARMS))
    assert jobs[0]["form"] != other[0]["form"]  # another length, another folder


def test_differences_are_paired_with_random_initialization(benchmark, costs):
    arms = list(benchmark.ARMS)
    run = lambda arm, seed, accuracy: {
        "arm": arm, "seed": seed, "linear_mean": accuracy, "warned": seed == 0, "epochs": 3, "cpu": 10.0
    }  # fmt: skip
    runs = [run(arms[0], 0, 50.0), run(arms[0], 1, 40.0)]
    runs += [run("random initialization", 0, 35.0), run("random initialization", 1, 29.0)]
    rows = {row["arm"]: row for row in benchmark.summarize(runs, costs)}
    assert rows[arms[0]]["over random"] == "+13.00 +- 2.83" and rows[arms[0]]["linear, mean"] == "45.00 +- 7.07"
    assert rows[arms[0]]["warned"] == "1 of 2" and rows["random initialization"]["over random"] == ""


def test_a_stored_run_is_not_repeated(benchmark, costs, tmp_path, monkeypatch):
    jobs = benchmark.jobs_of("quick", benchmark.FORMS["quick"], costs, [*benchmark.ARMS][:1])
    benchmark.write(tmp_path / "quick.json", [{**jobs[0], "linear_mean": 12.0}])
    monkeypatch.setattr(benchmark.multiprocessing, "get_context", None)  # nothing is started
    assert benchmark.run_all(jobs, tmp_path / "quick.json", 1)[0]["linear_mean"] == 12.0
