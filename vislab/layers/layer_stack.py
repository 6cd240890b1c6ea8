"""Stacks of encoder layers that can stop after any layer, after the same one or after another one for each image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

S = TypeVar("S", bound="EncoderState")


class EncoderState(Protocol):
    """A frozen dataclass with the tokens between two layers, and what the layers need to know about them.

    Attributes:
        tokens: (B, S, dim).
    """

    tokens: Tensor

    def rows(self: S, rows: Tensor) -> S:
        """Return the state of some images of the batch, whose indices are int64 (N,)."""


def run_layers(state: S, layer: Callable[[S, int], S], num_layers: int | Sequence[int]) -> S:
    """Return the state after `num_layers` layers, one number for the batch or one per image.

    Images that are done are left out of the following layers.

    Args:
        state: State before the first layer.
        layer: Applies the layer of an index (0-based).
        num_layers: Number of layers, or one for each image.
    """
    if isinstance(num_layers, int):
        for index in range(num_layers):
            state = layer(state, index)
        return state
    for index in range(max(num_layers)):
        active = [i for i, count in enumerate(num_layers) if count > index]
        if len(active) == len(num_layers):
            state = layer(state, index)
        else:
            rows = torch.tensor(active).to(state.tokens.device, non_blocking=True)
            moved = layer(state.rows(rows), index).tokens
            state = replace(state, tokens=state.tokens.index_copy(0, rows, moved))
    return state


def walk_layers(state: S, layer: Callable[[S, int], S], exits: Sequence[int]) -> Iterator[tuple[int, S]]:
    """Yield (k, state after k layers) for each k in `exits`, in increasing order; each layer runs once."""
    wanted = set(exits)
    for k in range(1, max(wanted) + 1):
        state = layer(state, k - 1)
        if k in wanted:
            yield k, state
