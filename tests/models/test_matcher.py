"""Test the matcher: minimal costs, empty problems, non-finite costs, a single copy from the device."""

import pytest
import torch

from vislab.errors import TrainingError
from vislab.models.matcher import fetch, match


def test_matching_takes_the_least_sum_and_reports_what_is_not_finite():
    (rows, columns), (none, _) = match([torch.tensor([[1.0, 2.0], [0.5, 9.0], [3.0, 0.1]]), torch.zeros(3, 0)])
    assert rows.tolist() == [1, 2] and columns.tolist() == [0, 1] and none.numel() == 0
    with pytest.raises(TrainingError, match="1 of 2"):
        match([torch.tensor([[float("nan"), 1.0]])])


def test_nothing_to_match():
    assert match([]) == []


def test_fetched_arrays_have_their_shapes():
    tensors = [torch.rand(2, 3), torch.zeros(4, 0), torch.tensor([1, -1, 0]), torch.ones(1, 2, dtype=torch.float64)]
    arrays = fetch(tensors)
    assert [a.shape for a in arrays] == [(2, 3), (4, 0), (3,), (1, 2)]
    assert all((torch.from_numpy(a) == t).all() for a, t in zip(arrays, tensors, strict=True))
