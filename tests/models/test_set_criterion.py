"""Test parts of set prediction losses with constructed pairs."""

import math

import pytest
import torch

from vislab.errors import DataError
from vislab.models import set_criterion
from vislab.models.set_criterion import (
    class_loss,
    match_outputs,
    matched_rows,
    matched_targets,
    mean_count,
    name_outputs,
)


def _pairs(*images: tuple[list[int], list[int]]):
    return [(torch.tensor(q, dtype=torch.int64), torch.tensor(t, dtype=torch.int64)) for q, t in images]


PAIRS = _pairs(([1, 3], [1, 0]), ([], []), ([0], [0]))
LABELS = [torch.tensor([5, 2]), torch.tensor([], dtype=torch.int64), torch.tensor([4])]


def test_matched_rows_and_targets_are_in_the_same_order():
    values = torch.arange(12).view(3, 4)
    assert values[matched_rows(PAIRS)].tolist() == [1, 3, 8]
    assert matched_targets(LABELS, PAIRS).tolist() == [2, 5, 4]


def test_match_outputs_leaves_out_entries_that_are_no_target():
    cost = torch.tensor([[9.0, 0.0, 1.0], [9.0, 1.0, 5.0]])  # the entry in the middle is the cheapest, and no target
    kept, pairs = match_outputs([[cost], [cost.flip(0)]], [torch.tensor([0, 0, 1])], num_classes=3)
    assert [k.tolist() for k in kept] == [[2]]
    assert [[x.tolist() for x in output[0]] for output in pairs] == [[[0], [0]], [[1], [0]]]
    with pytest.raises(DataError, match=r"3 classes \(0\.\.2\)"):
        match_outputs([[cost]], [torch.tensor([0, -1, 1])], num_classes=3)


def test_class_loss_counts_unmatched_queries_with_their_weight():
    logits = torch.zeros(3, 4, 7)
    logits[0, 1, 2] = logits[0, 3, 5] = logits[2, 0, 4] = 50.0  # matched queries are right, the other nine uniform
    found = class_loss(logits, LABELS, PAIRS, no_object_weight=0.1)
    assert found.item() == pytest.approx(0.9 * math.log(7) / (3 + 0.9))
    logits[..., 6] += 50.0 * (logits.amax(2) == 0)
    assert class_loss(logits, LABELS, PAIRS, no_object_weight=0.1).item() == pytest.approx(0, abs=1e-6)


def test_class_loss_without_any_pair():
    logits = torch.zeros(1, 4, 3, requires_grad=True)
    loss = class_loss(logits, [LABELS[1]], _pairs(([], [])), no_object_weight=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3)) and logits.grad.abs().sum() > 0


def test_mean_count_is_averaged_over_processes_and_at_least_one(monkeypatch):
    device = torch.device("cpu")
    assert mean_count(0, device) == 1 and mean_count(7, device) == 7
    monkeypatch.setattr(set_criterion, "get_world_size", lambda: 2)
    monkeypatch.setattr(set_criterion, "all_reduce", lambda total: total.add_(4))
    assert mean_count(7, device) == 5.5


def test_the_last_output_has_no_prefix():
    assert name_outputs([{"loss": 1, "x": 2}, {"loss": 3}]) == {"d0.loss": 1, "d0.x": 2, "loss": 3}
