"""Turning TrAct on and off for a layer, and the call that deferred mode needs before the optimizer's step."""

import torch
from torch import nn

from vislab.errors import ConfigError, did_you_mean
from vislab.systems.tract.layers import find_first_layer
from vislab.systems.tract.update import TrAct

REDUCE = ("local", "global", "deferred")


def apply_tract(module: nn.Module, lam: float = 0.1, reduce: str = "local") -> nn.Linear | nn.Conv2d:
    """Turn TrAct on for a layer, in place, and return that layer.

    Args:
        module: a Linear, a Conv2d, or a model, of which the first such layer (in order of definition) is taken.
        lam: damping, above 0. The paper starts at 0.1, takes 0.2 for long and 0.05 for short training.
        reduce: what A is taken over.
            "local": the inputs of this process and this backward pass, as published.
            "global": those of all processes, by one all-reduce of a^T a; every process must run the same
            backward passes.
            "deferred": those of all processes and of all backward passes since the weight's gradient was last None
            (gradient accumulation). The gradient stays the ordinary one until `precondition(layer)` is called, after
            the last backward and before the optimizer's step.

    Raises:
        ConfigError: lam or reduce is out of range; there is no such layer; its weight is frozen or computed from
            others; or its class computes something else than a linear map or a convolution.
    """
    check_settings(lam, reduce)
    layer = find_first_layer(module)
    remove_tract(layer)
    # before other forward hooks, which may replace the layer's output
    layer.register_forward_hook(TrAct(lam, reduce), prepend=True, with_kwargs=True)
    return layer


def check_settings(lam: float, reduce: str) -> None:
    """Raises ConfigError for what `apply_tract` does not take."""
    if not isinstance(lam, float | int) or isinstance(lam, bool) or not 0 < lam < float("inf"):
        raise ConfigError(f"TrAct: lam is {lam!r}; the damping must be above 0 (the paper's value is 0.1)")
    if reduce not in REDUCE:
        raise ConfigError(
            f"TrAct: reduce is {reduce!r}; choose one of {', '.join(REDUCE)}{did_you_mean(str(reduce), REDUCE)}"
        )


def remove_tract(layer: nn.Module) -> None:
    """Turn TrAct off again; nothing happens where it was not on."""
    for key, hook in list(layer._forward_hooks.items()):
        if isinstance(hook, TrAct):
            hook.release()
            del layer._forward_hooks[key], layer._forward_hooks_with_kwargs[key]


def precondition(layer: nn.Module) -> None:
    """Replace `layer.weight.grad` by the TrAct gradient of all that was accumulated (reduce="deferred").

    With `torch.distributed` every process must call it; the gradient must be averaged over the processes before, as
    DistributedDataParallel does.

    Raises:
        ConfigError: TrAct is not on for this layer, or not deferred.
    """
    tract = get_tract(layer)
    if tract is None or tract.reduce != "deferred":
        state = "not on" if tract is None else f"on with reduce={tract.reduce!r}"
        kind = type(layer).__name__
        raise ConfigError(f"TrAct is {state} for this {kind}; call apply_tract(layer, reduce='deferred') before")
    gradient = layer.weight.grad
    if gradient is not None and tract.total is not None:
        with torch.no_grad():
            gradient.copy_(tract.solve(gradient, tract.total))
    tract.total = None


def get_tract(layer: nn.Module) -> TrAct | None:
    """The state of TrAct for a layer, None where it is not on."""
    return next((hook for hook in layer._forward_hooks.values() if isinstance(hook, TrAct)), None)
