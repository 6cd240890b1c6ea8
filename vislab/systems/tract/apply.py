"""Enable and disable TrAct for a layer, and compute deferred updates."""

import torch
from torch import nn

from vislab.errors import ConfigError, did_you_mean
from vislab.systems.tract.layers import find_first_layer
from vislab.systems.tract.update import TrAct

REDUCE = ("local", "global", "deferred")


def apply_tract(module: nn.Module, lam: float = 0.1, reduce: str = "local") -> nn.Linear | nn.Conv2d:
    """Enable TrAct for a layer in place, and return the layer.

    Args:
        module: A Linear, a Conv2d, or a model, of which the first such layer in order of definition is used.
        lam: Damping, above 0. The paper's default is 0.1, with 0.2 for long and 0.05 for short training.
        reduce: The inputs that A is computed from.
            "local": inputs of this process and backward pass, as published.
            "global": inputs of all processes, with one all-reduce of a^T a; all processes must run the same backward
            passes.
            "deferred": inputs of all processes and of all backward passes since the gradient of the weight was last "
            "None
            (gradient accumulation). The gradient is unchanged until `precondition(layer)` is called, after the last
            backward pass and before the optimizer step.

    Raises:
        ConfigError: Invalid lam or reduce; there is no such layer; its weight is frozen or computed from other
            parameters; or its class is not supported.
    """
    check_settings(lam, reduce)
    layer = find_first_layer(module)
    remove_tract(layer)
    # before other forward hooks, which may replace the output of the layer
    layer.register_forward_hook(TrAct(lam, reduce), prepend=True, with_kwargs=True)
    return layer


def check_settings(lam: float, reduce: str) -> None:
    """Raise ConfigError for invalid settings of `apply_tract`."""
    if not isinstance(lam, float | int) or isinstance(lam, bool) or not 0 < lam < float("inf"):
        raise ConfigError(f"TrAct: lam is {lam!r}; the damping must be above 0 (the paper's value is 0.1)")
    if reduce not in REDUCE:
        raise ConfigError(
            f"TrAct: reduce is {reduce!r}; choose one of {', '.join(REDUCE)}{did_you_mean(str(reduce), REDUCE)}"
        )


def remove_tract(layer: nn.Module) -> None:
    """Disable TrAct for a layer, if it is enabled."""
    for key, hook in list(layer._forward_hooks.items()):
        if isinstance(hook, TrAct):
            hook.release()
            del layer._forward_hooks[key], layer._forward_hooks_with_kwargs[key]


def precondition(layer: nn.Module) -> None:
    """Replace the accumulated `layer.weight.grad` by the TrAct gradient (reduce="deferred").

    With `torch.distributed` all processes must call it, after the gradient was averaged over the processes, as
    DistributedDataParallel does.

    Raises:
        ConfigError: TrAct is not enabled for this layer, or not deferred.
    """
    tract = get_tract(layer)
    if tract is None or tract.reduce != "deferred":
        state = "not enabled" if tract is None else f"enabled with reduce={tract.reduce!r}"
        kind = type(layer).__name__
        raise ConfigError(f"TrAct is {state} for this {kind}; call apply_tract(layer, reduce='deferred') before")
    gradient = layer.weight.grad
    if gradient is not None and tract.total is not None:
        with torch.no_grad():
            gradient.copy_(tract.solve(gradient, tract.total))
    tract.total = None


def get_tract(layer: nn.Module) -> TrAct | None:
    """Return the TrAct hook of a layer, None if it is not enabled."""
    return next((hook for hook in layer._forward_hooks.values() if isinstance(hook, TrAct)), None)
