"""Building modules for their shapes alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FILLS = {  # called by initializers, also those that torch.nn.init does not have
    getattr(Tensor, name) for name in ("add_", "clamp_", "erfinv_", "fill_", "mul_", "normal_", "uniform_", "zero_")
}


@contextmanager
def meta_device() -> Iterator[None]:
    """Create tensors on the meta device, which have a shape and no memory, and skip their initialization.

    `torch.device("meta")` alone runs all initializers, which take most of the time of building a model.
    """
    with torch.device("meta"), _NoFill():
        yield


class _NoFill(TorchFunctionMode):
    """Return meta tensors as they are instead of filling them; operations with other tensors check the shapes."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", None) == "torch.nn.init":
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta and not any(isinstance(value, Tensor) for value in args[1:]):
                return tensor
        return func(*args, **kwargs)
