"""Apply torch.compile to the networks of a model for `compile=True` in a config.

Only the networks are compiled, since the other operations of a step (samples of different sizes, matching on the CPU,
losses over a varying number of objects) would be recompiled for each batch. A model declares its networks in
`compiled_parts`.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from vislab.errors import ConfigError, check_choice, did_you_mean


def compile_networks(model: nn.Module, settings: bool | Mapping[str, Any] | None) -> list[str]:
    """Compile the networks of `model` in place; parameter names do not change, and copies are not compiled.

    Args:
        model: Model whose `compiled_parts` are names of modules or module lists. Without it, the whole model is
            compiled.
        settings: True or a dict of arguments of torch.compile; None and False disable compilation.

    Returns:
        Names of the compiled modules; empty if all are compiled already.

    Raises:
        ConfigError: If `settings` are not valid arguments of torch.compile.
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
        from torch._dynamo import list_backends  # takes seconds to import

        check_choice("compile.backend", backend, list_backends(exclude_tags=()))
    return dict(settings)
