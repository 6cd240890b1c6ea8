"""Load optimizer state into another implementation of the optimizer.

torch's `load_state_dict` takes the implementation (`fused`, `foreach`) and the memory format from the saved state. A
resumed run
uses the implementation of its config, and fused updates ignore strides: state in another memory format would silently
be applied to the wrong weights.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vislab.io.sharded import split_like

IMPLEMENTATION = ("fused", "foreach", "capturable", "differentiable")  # implementation of the update


@contextmanager
def own_implementation(optimizers: Iterable[Optimizer]) -> Iterator[None]:
    """Context manager in which `load_state_dict` keeps the implementation of each optimizer.

    The state is converted to the memory format and sharding of the parameters.
    """
    hooks = []
    for optimizer in optimizers:
        hooks.append(optimizer.register_load_state_dict_pre_hook(_prepare))
        hooks.append(optimizer.register_load_state_dict_post_hook(_keep_memory_order))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _prepare(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    groups = [dict(group) for group in state["param_groups"]]
    for saved, own in zip(
        groups, optimizer.param_groups, strict=False
    ):  # torch raises an error for another number of groups
        saved.update({key: own[key] for key in IMPLEMENTATION if key in own})
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries = {
        number: {key: split_like(value, parameter) for key, value in state["state"][number].items()}
        for number, parameter in zip(numbers, parameters, strict=False)
        if isinstance(parameter, DTensor) and isinstance(state["state"].get(number), dict)
    }
    return {**state, "param_groups": groups, "state": {**state["state"], **entries}}


def _keep_memory_order(optimizer: Optimizer) -> None:
    for parameter, entries in optimizer.state.items():
        if not isinstance(parameter, torch.Tensor) or not isinstance(entries, dict):
            continue
        for key, value in entries.items():
            like = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if like and value.stride() != parameter.stride():
                entries[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
