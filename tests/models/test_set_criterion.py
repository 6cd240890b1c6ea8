"""Test parts of set prediction losses with constructed pairs."""

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from vislab.errors import DataError
from vislab.models import set_criterion
from vislab.models.set_criterion import Matches, class_losses, match_outputs, mean_count, name_outputs

COSTS = torch.tensor([[[[9.0, 0.0, 1.0], [9.0, 1.0, 5.0]]]])  # (1, 1, 2, 3)
LABELS = torch.tensor([[5, 2], [0, 0], [4, 0]])  # padded
MATCHES = Matches(*torch.tensor([[[0, 0, 2]], [[1, 3, 0]], [[1, 0, 0]]]))  # images, queries, objects


def test_match_outputs_leaves_out_entries_that_are_no_target():
    """The entry in the middle is the cheapest, and no target."""
    costs, state = torch.cat((COSTS, COSTS.flip(2))), torch.tensor([[0, 0, 1]])
    kept, (matches,) = match_outputs([costs], state, [3], num_classes=3)
    assert [k.tolist() for k in kept] == [[2]]
    assert matches.images.tolist() == [[0], [0]] and matches.objects.tolist() == [[2], [2]]
    assert matches.queries.tolist() == [[0], [1]] and matches[1].queries.tolist() == [1] and len(matches) == 2
    with pytest.raises(DataError, match=r"3 classes \(0\.\.2\)"):
        match_outputs([COSTS], torch.tensor([[0, -1, 1]]), [3], num_classes=3)


def test_match_outputs_solves_each_problem():
    """Groups of different numbers of queries, padded images, an empty image, more objects than queries."""
    torch.manual_seed(0)
    counts, state = [2, 0, 5], torch.tensor([[1, 1, 0, 0, 0], [0] * 5, [1, 0, 1, 1, 1]])
    groups = [torch.rand(3, 3, 6, 5), torch.rand(1, 3, 3, 5)]
    kept, found = match_outputs(groups, state, counts, num_classes=9)
    assert [k.tolist() for k in kept] == [[0, 1], [], [0, 2, 3, 4]]
    for costs, matches in zip(groups, found, strict=True):
        for output, cost in enumerate(costs):
            pairs = []
            for image, rows in enumerate(kept):
                queries, columns = linear_sum_assignment(cost[image][:, rows].numpy())
                pairs += [(image, q, rows[c]) for q, c in zip(queries, columns, strict=True)]
            one = matches[output]
            assert list(zip(*(x.tolist() for x in (one.images, one.queries, one.objects)), strict=True)) == pairs


def test_nothing_to_match():
    kept, (matches,) = match_outputs([torch.zeros(2, 2, 4, 0)], torch.zeros(2, 0), [0, 0], num_classes=3)
    assert [len(k) for k in kept] == [0, 0] and matches.images.shape == (2, 0)
    assert matches.of(torch.rand(2, 2, 4, 3)).shape == (2, 0, 3)


def test_matched_rows():
    values = torch.arange(24).view(2, 3, 4)
    both = Matches(*(torch.cat((x, x)) for x in (MATCHES.images, MATCHES.queries, MATCHES.objects)))
    assert both.of(values).tolist() == [[1, 3, 8], [13, 15, 20]]


def test_class_losses_count_unmatched_queries_with_their_weight():
    logits = torch.zeros(1, 3, 4, 7)
    logits[0, 0, 1, 2] = logits[0, 0, 3, 5] = logits[0, 2, 0, 4] = 50.0  # matched are right, the other nine uniform
    found = class_losses(logits, LABELS, MATCHES, no_object_weight=0.1)
    assert found.item() == pytest.approx(0.9 * math.log(7) / (3 + 0.9))
    logits[..., 6] += 50.0 * (logits.amax(3) == 0)
    assert class_losses(logits, LABELS, MATCHES, no_object_weight=0.1).item() == pytest.approx(0, abs=1e-6)


def test_class_losses_are_those_of_each_output():
    torch.manual_seed(0)
    logits, queries = torch.randn(2, 3, 4, 7), torch.tensor([[1, 3, 0], [2, 0, 1]])
    matches = Matches(MATCHES.images.repeat(2, 1), queries, MATCHES.objects.repeat(2, 1))
    for output, found in enumerate(class_losses(logits, LABELS, matches, no_object_weight=0.3)):
        wanted = torch.full((3, 4), 6)
        wanted[[0, 0, 2], queries[output]] = torch.tensor([2, 5, 4])
        weight = torch.tensor([1.0] * 6 + [0.3])
        expected = torch.nn.functional.cross_entropy(logits[output].flatten(0, 1), wanted.flatten(), weight)
        torch.testing.assert_close(found, expected)


def test_class_losses_without_any_pair():
    logits = torch.zeros(1, 1, 4, 3, requires_grad=True)
    nothing = Matches(*torch.zeros(3, 1, 0, dtype=torch.int64))
    loss = class_losses(logits, LABELS[1:2, :0], nothing, no_object_weight=0.1)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(3)) and logits.grad.abs().sum() > 0


def test_mean_count_is_averaged_over_processes_and_at_least_one(monkeypatch):
    device = torch.device("cpu")
    assert mean_count(0, device) == 1 and mean_count(7, device) == 7
    monkeypatch.setattr(set_criterion, "get_world_size", lambda: 2)
    monkeypatch.setattr(set_criterion, "all_reduce", lambda total: total.add_(4))
    assert mean_count(7, device) == 5.5


def test_the_last_output_has_no_prefix():
    assert name_outputs([{"loss": 1, "x": 2}, {"loss": 3}]) == {"d0.loss": 1, "d0.x": 2, "loss": 3}
