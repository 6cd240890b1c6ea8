"""Test FullyShard on two gloo processes: losses of one process, checkpoints for any number of processes."""

import json

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.processes import run_two
from tests.helpers.sharded_runs import MODELS, SAVED, STEPS, train

SCRIPT = HELPERS / "sharded_runs.py"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what this test is about")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def one(folder):
    """The same runs on this process."""
    return {kind: train(kind, folder / f"one_{kind}") for kind in MODELS}


@pytest.fixture(scope="module")
def two(folder, one):
    run_two(SCRIPT, str(folder))
    found = json.loads((folder / "two.json").read_text())
    for result in found.values():
        result["losses"] = {int(step): loss for step, loss in result["losses"].items()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_metrics_are_those_of_one_process(one, two, kind):
    """With layer decay, clipping and accumulation; the data divides neither by the batch nor by the processes."""
    assert two[kind]["model"] == "FullyShard" and one[kind]["model"] != "FullyShard"
    assert one[kind]["share"] == 1
    assert all(0.45 < result["share"] < 0.6 for result in two.values())
    assert list(two[kind]["losses"]) == list(range(1, STEPS + 1))
    assert two[kind]["losses"] == pytest.approx(one[kind]["losses"], abs=1e-5)
    assert two[kind]["metrics"] == pytest.approx(one[kind]["metrics"], abs=1e-9)


@pytest.mark.slow
def test_gradients_reduced_at_the_end_of_a_window(one, two):
    assert two["deferred"]["losses"] == pytest.approx(one["classifier"]["losses"], abs=1e-5)
    assert two["deferred"]["metrics"] == pytest.approx(one["classifier"]["metrics"], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_two_processes_go_on_from_one(one, two, kind):
    """The checkpoint is within an accumulation window: its gradients are split over the processes."""
    resumed = two[f"{kind}_resumed"]["losses"]
    assert resumed == pytest.approx({k: v for k, v in one[kind]["losses"].items() if k > SAVED}, abs=1e-5)
    assert min(resumed) == SAVED + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_one_process_goes_on_from_two(folder, one, two, kind):
    resume = str(folder / f"two_{kind}" / f"iter_{SAVED}.pth")
    resumed = train(kind, folder / f"two_one_{kind}", resume=resume)["losses"]
    assert resumed == pytest.approx({k: v for k, v in one[kind]["losses"].items() if k > SAVED}, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_checkpoints_are_those_of_one_process(folder, one, two, kind):
    """The same entries, shapes and values, so that whatever reads checkpoints reads these."""
    files = [folder / f"{count}_{kind}" / f"iter_{2 * SAVED}.pth" for count in ("one", "two")]
    mine, other = (torch.load(file, weights_only=True) for file in files)
    assert mine.keys() == other.keys()
    for name, value in mine["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], value, atol=2e-4, rtol=0)
    for number, entries in mine["optimizer"]["state"].items():
        for key, value in entries.items():
            torch.testing.assert_close(other["optimizer"]["state"][number][key], value, atol=1e-5, rtol=1e-4)
