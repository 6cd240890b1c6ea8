"""Test the comparison of an exported model with the model: differences, ties, wrong choices, damaged outputs."""

import numpy as np
import pytest
import torch

from vislab.apis.export_check import check_runs
from vislab.errors import ExportError
from vislab.models.export_graph import ExportGraph
from vislab.ops.choices import best, observe

CASES = [(1, (4, 4)), (2, (4, 6))]


def compute(inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The second of two nearly equal places is chosen by rounding, and decides the output."""
    values = inputs.flatten(1)
    scores = values.clone()
    scores[:, 3] = scores[:, 1] = scores.amax(1) + 1
    scores[:, 1] += 1e-6
    chosen = best(scores, 1)
    return {"value": values.gather(1, chosen), "place": chosen}


GRAPH = ExportGraph([], compute, task="test", outputs={"value": "", "place": ""}, channels=2)


def run(inputs: np.ndarray, choose=lambda choice: choice, change=lambda outputs: outputs) -> list[np.ndarray]:
    """An exported model with other choices and other outputs."""
    choices = []

    def keep(choice, _):
        choices.append(choose(choice))
        return choices[-1]

    with observe(keep):
        outputs = change(list(GRAPH(torch.from_numpy(inputs))))
    return [value.numpy() for value in [*outputs, *choices]]


def test_equal_models():
    found = check_runs(GRAPH, run, CASES, 1e-4)
    assert [(d.output, d.batch, d.size) for d in found] == [
        ("value", 1, (4, 4)), ("place", 1, (4, 4)), ("value", 2, (4, 6)), ("place", 2, (4, 6)),
    ]  # fmt: skip
    assert all(d.relative == 0 for d in found)


def test_a_tie_may_be_decided_otherwise():
    """Without the choice of the other model, its output would differ altogether."""
    tie = lambda choice: torch.full_like(choice, 3)
    own, other = (run(GRAPH.example(1, (4, 4), 0).numpy(), choose=c)[0] for c in (lambda c: c, tie))
    assert abs(own - other).max() > 0.1
    assert all(d.relative == 0 for d in check_runs(GRAPH, lambda x: run(x, choose=tie), CASES, 1e-4))


def test_a_wrong_choice():
    with pytest.raises(ExportError, match=r"another choice \(number 1\).* worse by [1-9]"):
        check_runs(GRAPH, lambda x: run(x, choose=lambda choice: torch.full_like(choice, 2)), CASES, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: [out[0] + 0.01, out[1]], "value of 1 x 4x4"),
        (lambda out: [out[0], out[1] + 1], "place of 1 x 4x4: inf"),
        (lambda out: [out[0] * float("nan"), out[1]], "value of 1 x 4x4: nan"),
        (lambda out: [out[0][:, :0], out[1]], r"value is \(1, 0\)"),
        (lambda out: [out[0].double(), out[1]], "float64 in the exported model"),
        (lambda out: [*out, out[1]], "2 choices, the model 1"),
    ],
    ids=["value", "integer", "nan", "shape", "type", "count"],
)
def test_differences_are_refused(change, message):
    with pytest.raises(ExportError, match=message):
        check_runs(GRAPH, lambda x: run(x, change=change), CASES, 1e-4)


def test_a_difference_within_the_tolerance():
    found = check_runs(GRAPH, lambda x: run(x, change=lambda out: [out[0] + 1e-6, out[1]]), CASES, 1e-4)
    assert 0 < max(d.relative for d in found) < 1e-4


def test_a_model_that_is_not_finite():
    broken = ExportGraph([], lambda x: {"value": x / 0}, task="test", outputs={"value": ""}, channels=2)
    with pytest.raises(ExportError, match="value of the model is not finite"):
        check_runs(broken, lambda x: [x], CASES, 1e-4)
