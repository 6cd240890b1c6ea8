"""A simulated GPU: fake tensors on device cuda without computation, and a list of synchronizations.
Operations between devices raise an error as on a GPU. Values read by the host are invented, so that code can continue;
each read, and each copy that the host waits for, is recorded with its place.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)
_LISTS = (_foreach_utils, sys.modules["torch.optim.optimizer"])
REPOSITORY = Path(__file__).parents[2].as_posix()


class Wait(NamedTuple):
    """An operation that made the host wait, and the innermost file and function outside torch that called it."""

    reason: str
    place: str


@contextmanager
def pretended_gpu() -> Iterator[list[Wait]]:
    """Within it, the device cuda takes tensors of any size. Yields the list that grows with every wait."""
    waits: list[Wait] = []
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    gc.disable()  # finalizers of what earlier tests left may run tensor operations, in the middle of a fake one
    try:
        with ExitStack() as stack:
            for change in (fake, _NotedOperations(waits), _ReadArrays(), *_as_with_a_gpu()):
                stack.enter_context(change)
            yield waits
    finally:
        gc.enable()


def _as_with_a_gpu() -> list[AbstractContextManager]:
    """What torch decides by the presence of a GPU or the class of a tensor: autocast, and lists in one operation."""
    return [
        patch.object(FakeTensor, "tolist", _to_list),
        patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        patch.object(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True),
        *(patch.object(m, "_foreach_supported_types", [Tensor, nn.Parameter, FakeTensor]) for m in _LISTS),
    ]


def to_pretended_gpu(model: nn.Module) -> nn.Module:
    """Replace parameters and buffers, of any device, by ones without content on the pretended GPU."""
    for module in _all_modules(model):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(_there(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _there(buffer)
        if hasattr(module, "_device"):  # data preprocessors note where they are
            module._device = CUDA
    return model


def _all_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, and of frozen networks that it holds outside its tree."""
    for module in model.modules():
        yield module
        network = vars(module).get("network")
        if isinstance(network, nn.Module):
            yield from network.modules()


def with_content(make: Callable[[], Tensor]) -> Tensor:
    """The tensor that `make` gives, on the host and with its values, for code that reads them."""
    with _disable_current_modes():
        return make()


def _there(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)


class _NotedOperations(TorchDispatchMode):
    def __init__(self, waits: list[Wait]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        there = [x for x in _tensors(args) if x.device.type == "cuda"]
        if there:
            if func is aten._local_scalar_dense.default:
                self.note("reads a number")
                return _number(args[0].dtype)
            if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
                args = (args[0], [part for x in args[1] for part in self._index(x)], *args[2:])
            if func in _UNKNOWN_SIZE:
                self.note("asks how large a result is")
                return _UNKNOWN_SIZE[func](*args, **kwargs)
            if func is aten._fused_sgd_.default:  # which torch cannot fake; it gives nothing back
                return None
        if func is aten._to_copy.default and _crosses(args[0], kwargs.get("device")) and not kwargs.get("non_blocking"):
            self.note(f"copies from {args[0].device.type}")
        if func is aten.copy_.default and _crosses(args[1], args[0].device) and not (args[2:] or [False])[0]:
            self.note(f"copies from {args[1].device.type}")
        return func(*args, **kwargs)

    def _index(self, index: Tensor | None) -> list[Tensor | None]:
        if index is not None and index.dtype in (torch.bool, torch.uint8):
            self.note("counts what a mask chooses")  # one place for each index of the mask's first axis
            places = torch.arange(index.shape[0], device=index.device)
            return [places, *(torch.zeros_like(places) for _ in index.shape[1:])]
        if index is not None and index.device.type == "cpu":
            self.note("copies an index from cpu")
        return [index]

    def note(self, reason: str) -> None:
        frame = sys._getframe(1)
        inside = ("/torch/", "/tests/helpers/pretended_", "/benchmarks/_launches.py")
        while any(part in frame.f_code.co_filename.replace("\\", "/") for part in inside):
            frame = frame.f_back
        file = frame.f_code.co_filename.replace("\\", "/")
        root = "/site-packages/" if "/site-packages/" in file else f"{REPOSITORY}/"
        self.waits.append(Wait(reason, f"{file.rpartition(root)[2]}:{frame.f_code.co_name}"))


class _ReadArrays(TorchFunctionMode):
    """Arrays of fake tensors, which torch refuses to make: of ones. Tensors with content, on the host, keep it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.numpy and isinstance(args[0], FakeTensor):
            assert args[0].device.type == "cpu", "numpy() of a tensor on a GPU"
            return np.ones(args[0].shape, str(args[0].dtype).removeprefix("torch."))
        if func in (Tensor.cpu, Tensor.numpy) and not isinstance(args[0], FakeTensor):
            with _disable_current_modes():
                return func(*args)
        return func(*args, **(kwargs or {}))


def _to_list(tensor: Tensor) -> Any:
    return np.full(tensor.cpu().shape, _number(tensor.dtype)).tolist()


def _number(dtype: torch.dtype) -> bool | int | float:
    return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1


def _tensors(args: Any) -> Iterator[Tensor]:
    for x in args:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _tensors(x)


def _crosses(tensor: Tensor, device: Any) -> bool:
    return device is not None and torch.device(device).type != tensor.device.type


def _unique(x: Tensor, *options: Any, **more: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x.flatten()), torch.zeros_like(x, dtype=torch.int64), x.new_ones(x.numel()).long()


_UNKNOWN_SIZE = {  # with sizes that could be
    aten.nonzero.default: lambda x: torch.zeros(1, x.ndim, dtype=torch.int64, device=x.device),
    aten.bincount.default: lambda x, weights=None, minlength=0: x.new_zeros(minlength),
    aten._unique2.default: _unique,
}
