"""Backward on the simulated GPU: torch's engine asks for a real device, so the graph is walked here, node by node.

Nodes are called in the order of the engine, from the loss to the leaves, with sums of gradients, reductions to the
shape and dtype of the forward pass, and hooks of tensors. Saved tensors are not released on the way.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Hooks = dict[tuple[Any, int], list[Callable]]  # by node and output


@contextmanager
def walked_backward(enter: Callable[[str | None], None] = lambda name: None) -> Iterator[None]:
    """Within it, `loss.backward()` of a tensor on the simulated GPU is a walk. `enter` gets the name of each node,
    and None at the end."""
    hooks: Hooks = defaultdict(list)
    register = Tensor.register_hook

    def note(tensor: Tensor, hook: Callable) -> Any:
        if tensor.grad_fn is not None:
            hooks[tensor.grad_fn, tensor.output_nr].append(hook)
        return register(tensor, hook)

    def backward(loss: Tensor, **_: Any) -> None:
        _walk(loss, hooks, enter)

    with patch.object(Tensor, "register_hook", note), patch.object(Tensor, "backward", backward):
        yield


@torch.no_grad()
def _walk(loss: Tensor, hooks: Hooks, enter: Callable[[str | None], None]) -> None:
    gradients: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    gradients[loss.grad_fn][loss.output_nr] = torch.ones_like(loss)
    for node in reversed(_leaves_first(loss.grad_fn)):
        arrived = gradients.pop(node, None)
        if arrived is None:
            continue
        enter(type(node).__name__)
        for place, gradient in arrived.items():
            for hook in hooks[node, place]:
                changed = hook(gradient)
                arrived[place] = gradient = gradient if changed is None else changed
        if hasattr(node, "variable"):
            _accumulate(node.variable, arrived[0])
            continue
        for (following, place), gradient in _call(node, arrived):
            gradient = _as_in_forward(gradient, following._input_metadata[place])
            there = gradients[following].get(place)
            gradients[following][place] = gradient if there is None else there + gradient
    enter(None)


def _leaves_first(root: Any) -> list[Any]:
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following is not None]
    return order


def _call(node: Any, arrived: dict[int, Tensor]) -> Iterator[tuple[tuple[Any, int], Tensor]]:
    """Yield the edges of a node with their gradients."""
    outputs = node._input_metadata
    gradients = [arrived.get(place) for place in range(len(outputs))]
    edges = node.next_functions
    if isinstance(node, BackwardCFunction):  # written in Python: None stands for zeros, and for inputs of other kinds
        made = [
            torch.zeros(meta.shape, dtype=meta.dtype, device=meta.device) if gradient is None else gradient
            for gradient, meta in zip(gradients, outputs, strict=True)
        ]
        found = node.apply(*made)
        found = found if isinstance(found, tuple) else (found,)
        found = [one for one, needed in zip(found, node.needs_input_grad, strict=True) if needed]
        edges = [edge for edge in edges if edge[0] is not None]
    else:
        found = node(*gradients)
        found = found if isinstance(found, tuple) else (found,)
    for edge, gradient in zip(edges, found, strict=True):
        if edge[0] is not None and gradient is not None:
            yield edge, gradient


def _as_in_forward(gradient: Tensor, meta: Any) -> Tensor:
    if gradient.shape != tuple(meta.shape):
        gradient = gradient.sum_to_size(tuple(meta.shape))
    return gradient if gradient.dtype == meta.dtype else gradient.to(meta.dtype)


def _accumulate(parameter: Tensor, gradient: Tensor) -> None:
    for hook in (parameter._backward_hooks or {}).values():
        changed = hook(gradient)
        gradient = gradient if changed is None else changed
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    for hook in (parameter._post_accumulate_grad_hooks or {}).values():
        hook(parameter)
