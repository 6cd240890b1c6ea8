"""`compile=True` in a config: torch.compile on a model's networks, and on nothing else.

What surrounds a network in a step (samples of every size, matching on the host, losses over as many objects as there
are) would be compiled anew for each batch. A model names its networks as `compiled_parts`.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from vislab.errors import ConfigError, did_you_mean


def compile_networks(model: nn.Module, settings: bool | Mapping[str, Any] | None) -> list[str]:
    """Compile the networks of `model` in place; names of parameters stay, and copies of the model are not compiled.

    Args:
        model: Its `compiled_parts` are names of modules, or of lists of them. Without any, all of it is one network.
        settings: True, or arguments of torch.compile; None and False compile nothing.

    Returns:
        The names of the compiled modules; empty when there is nothing left to compile.

    Raises:
        ConfigError: `settings` are not what torch.compile takes.
    """
    if settings is None or settings is False:
        return []
    arguments = {} if settings is True else _checked(settings)
    names = []
    for name, part in _networks(model):
        if part._compiled_call_impl is None:
            part.compile(**arguments)
            names.append(name)
    return names


def _networks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name in getattr(model, "compiled_parts", ("",)):
        part = model.get_submodule(name)
        if isinstance(part, nn.ModuleList):
            yield from ((f"{name}.{i}", child) for i, child in enumerate(part))
        else:
            yield name, part


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise ConfigError(f"compile={settings!r}: expected True, False or arguments of torch.compile in a dict")
    known = list(inspect.signature(torch.compile).parameters)[1:]
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"compile has {key!r}; torch.compile takes {', '.join(known)}{did_you_mean(str(key), known)}"
            )
    backend = settings.get("backend", "inductor")
    if isinstance(backend, str):
        from torch._dynamo import list_backends  # seconds of import time, spared where nothing is compiled

        if backend not in (backends := list_backends(exclude_tags=())):
            raise ConfigError(f"compile.backend={backend!r} is not one of {', '.join(backends)}")
    return dict(settings)
