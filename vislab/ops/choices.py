"""Discrete choices inside networks (the best tokens, the places that a mask leaves), made visible to a check.

Two implementations of a network differ by rounding. Near a tie they choose differently, and then all that follows
differs, although both are right. A check of an exported network therefore takes over its choices, requires that each is
as good as the own one up to rounding, and compares what follows from it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

Shortfall = Callable[[Tensor], Tensor]
Observer = Callable[[Tensor, Shortfall], Tensor]

_observer: Observer | None = None


def settle(choice: Tensor, shortfall: Shortfall) -> Tensor:
    """Return `choice`, or within `observe` what the observer returns for it.

    Args:
        choice: Indices or a mask.
        shortfall: Function from another choice to a scalar: by how much its scores are worse than those of `choice`, as
            a part of the range of all scores.
    """
    return choice if _observer is None else _observer(choice, shortfall)


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Call `observer(choice, shortfall)` for each choice, in order, and use its result instead."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


def best(scores: Tensor, count: int) -> Tensor:
    """Return the indices (B, count) of the highest scores (B, S) of each row, best first."""
    top = scores.topk(count, dim=1)
    return settle(top.indices, lambda other: _part(top.values - scores.gather(1, other), scores))


def largest(scores: Tensor, dim: int) -> Tensor:
    """Return the index of the largest score along an axis, which is removed."""
    found = scores.argmax(dim)

    def shortfall(other: Tensor) -> Tensor:
        return _part(scores.amax(dim) - scores.gather(dim, other.unsqueeze(dim)).squeeze(dim), scores)

    return settle(found, shortfall)


def not_negative(scores: Tensor) -> Tensor:
    """Return scores >= 0."""
    found = scores >= 0
    return settle(found, lambda other: _part(scores * (found != other), scores))


def _part(difference: Tensor, scores: Tensor) -> Tensor:
    """Return the largest magnitude of a difference as a part of the range of the scores."""
    return difference.abs().max() / (scores.max() - scores.min()).clamp(min=1e-12)
