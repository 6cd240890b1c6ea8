"""Constant tensors that a module needs in each step, such as position encodings, made once per size."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

Table = TypeVar("Table", Tensor, tuple[Tensor, ...])


class Tables:
    """Tables of one module by key. They are not part of its state, and a copy of the module starts without them.

    Args:
        limit: Bytes of all tables; the ones that were used longest ago are dropped, and a larger one is not kept.
    """

    def __init__(self, limit: int = 1 << 25) -> None:
        self.limit = limit
        self._tables: OrderedDict[Hashable, Tensor | tuple[Tensor, ...]] = OrderedDict()

    def __reduce__(self):
        return Tables, (self.limit,)

    @property
    def size(self) -> int:
        """Bytes of all tables."""
        return sum(_size(table) for table in self._tables.values())

    def get(self, make: Callable[[], Table], *key: Hashable) -> Table:
        """Return the tensor or tuple of tensors of `key`, made by `make` if it is not there.

        The key names everything that `make` depends on, device and dtype included. The result must not be changed.
        """
        if torch.compiler.is_compiling():  # the compiler and exporters see how it is made
            return make()
        key = (*key, torch._C._len_torch_dispatch_stack())  # tensors without content of a simulation stay in it
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        with torch.inference_mode(False), torch.no_grad():  # usable in training too
            table = make()
        if _size(table) <= self.limit:
            self._tables[key] = table
            while self.size > self.limit:
                self._tables.popitem(last=False)
        return table


def _size(table: Tensor | tuple[Tensor, ...]) -> int:
    return sum(x.numel() * x.element_size() for x in ((table,) if isinstance(table, Tensor) else table))
