"""Counter of what operations ask of a device: launches, copies, allocated and kept bytes, by the place that asks.

A launch is one operator of torch that computes, as it arrives at the device: views, empty tensors and questions about
sizes are none, and an operator over a list of tensors (`_foreach_...`, `_fused_...`) is one. A device may run several
kernels for an operator.
"""

import math
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

REPOSITORY = Path(__file__).resolve().parents[1].as_posix()
HELPERS = ("/torch/", "/tests/helpers/pretended_", "/benchmarks/_launches.py")
WITHOUT_KERNEL = {
    *("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view", "lift_fresh"),
    *("_local_scalar_dense", "is_pinned", "set_", "device"),
}
WITH_KEPT_GRAPH = {("CudnnBatchNormBackward0", "clone")}  # not if torch's engine frees the graph on the way


class Launches(TorchDispatchMode):
    """Counts operations on tensors of a device.

    Args:
        device: Type of the device.

    Attributes:
        phase: Name under which launches are counted from now on.
        node: Node of the backward pass that is running, named in place of a file.
        launches: Number per phase.
        copies: Number of copies between host and device.
        allocated: Bytes of all new tensors.
        held, most: Bytes that are in use now, and the most that ever were, without those from before.
        places: Number of launches per (place, operator).
    """

    def __init__(self, device: str = "cuda") -> None:
        super().__init__()
        self.device, self.phase, self.node = device, "forward", None
        self.launches: Counter[str] = Counter()
        self.places: Counter[tuple[str, str]] = Counter()
        self.copies = self.allocated = self.held = self.most = 0
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs, outputs = list(_tensors([*args, *(kwargs or {}).values()])), list(_tensors([out]))
        there = [x for x in outputs if x.device.type == self.device]
        if there or any(x.device.type == self.device for x in inputs):
            known = {x.untyped_storage()._cdata for x in inputs}
            for x in there:
                storage = x.untyped_storage()
                if storage._cdata not in known:
                    known.add(storage._cdata)
                    self._allocate(storage)
            name = func._schema.name.split("::")[1]
            if not (_is_view(func) or name in WITHOUT_KERNEL or (self.node, name) in WITH_KEPT_GRAPH):
                crosses = name in ("_to_copy", "copy_") and len({x.device.type for x in inputs + outputs}) > 1
                self.copies += crosses
                self.launches[self.phase] += not crosses
                self.places[self._place(), name] += 1
        return out

    def _allocate(self, storage: Any) -> None:
        size, key = storage.nbytes(), id(storage)
        self.allocated += size
        self.held += size
        self.most = max(self.most, self.held)

        def release(_: weakref.ref) -> None:
            self.held -= size
            self._alive.pop(key)

        self._alive[key] = weakref.ref(storage, release)

    def _place(self) -> str:
        """The innermost file and line outside torch, or the node of the backward pass."""
        if self.node is not None:
            return self.node
        frame = sys._getframe(2)
        while any(part in frame.f_code.co_filename.replace("\\", "/") for part in HELPERS):
            frame = frame.f_back
        file = frame.f_code.co_filename.replace("\\", "/")
        root = "/site-packages/" if "/site-packages/" in file else f"{REPOSITORY}/"
        return f"{file.rpartition(root)[2]}:{frame.f_code.co_name}:{frame.f_lineno}"


def attention_kernel(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, **options: Any
) -> Tensor:
    """`scaled_dot_product_attention` as on a GPU, where it is one kernel; without one, torch takes it apart."""
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, -math.inf)
        attn_mask = attn_mask.to(query.dtype).expand(*query.shape[:-1], key.shape[-2])
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        query, key, value = (x.to(torch.get_autocast_dtype(kind)) for x in (query, key, value))
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, attn_mask, torch.is_grad_enabled(), dropout_p, **options)[0]


def _is_view(func: Any) -> bool:
    """Tell whether an operator returns parts of its inputs, unchanged."""
    returns = func._schema.returns
    return bool(returns) and all(x.alias_info is not None and not x.alias_info.is_write for x in returns)


def _tensors(values: Any) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _tensors(x)
