"""Test choices: their values, what replaces them, and by how much another choice is worse."""

import pytest
import torch

from vislab.ops.choices import best, largest, not_negative, observe

SCORES = torch.tensor([[0.1, 0.9, 0.5, 0.0], [0.7, 0.2, 0.3, 0.4]])


def test_values():
    assert best(SCORES, 2).tolist() == [[1, 2], [0, 3]]
    assert largest(SCORES, dim=1).tolist() == [1, 0] and largest(SCORES, dim=0).tolist() == [1, 0, 0, 1]
    assert not_negative(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("choose", "other", "shortfall"),
    [
        (lambda: best(SCORES, 2), torch.tensor([[1, 0], [0, 3]]), 0.4 / 0.9),
        (lambda: best(SCORES, 2), torch.tensor([[2, 1], [0, 3]]), 0.4 / 0.9),  # the order counts
        (lambda: largest(SCORES, dim=1), torch.tensor([2, 0]), 0.4 / 0.9),
        (lambda: not_negative(SCORES - 0.1), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1]]).bool(), 0.1 / 0.9),
    ],
)
def test_another_choice(choose, other, shortfall):
    seen = []

    def replace(choice, worse):
        seen.extend([float(worse(choice)), float(worse(other))])
        return other

    with observe(replace):
        assert choose() is other
    assert seen == [0.0, pytest.approx(shortfall)]
    assert choose() is not other  # only within the block


def test_the_observer_before_returns_after_an_error():
    with observe(lambda choice, _: choice + 1):
        with pytest.raises(RuntimeError), observe(lambda choice, _: choice + 2):
            raise RuntimeError
        assert largest(SCORES, dim=1).tolist() == [2, 1]
