"""A message hub with constant time per update, which replaces that of mmengine.

mmengine appends to a NumPy array in each update, which copies the whole history, and reads each logged tensor
immediately, which synchronizes with the GPU in each step. Here histories grow by doubling and drop entries older than
`max_length`, and tensors on an accelerator are read together when the history is accessed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer as MMEngineHistoryBuffer
from mmengine.logging import MessageHub as MMEngineMessageHub

from vislab.io.serialize import register_kind

_HISTORY = "__history__"
_MAX_WAITING = 64  # maximum number of unread tensors, to limit device memory


class HistoryBuffer(MMEngineHistoryBuffer):
    """The values of one logged quantity, in amortized constant time per update.

    Args:
        log_history: Values to begin with, (N,).
        count_history: Number of samples of each value, (N,).
        max_length: Minimum number of recent values to keep; up to twice as many are stored.
    """

    def __init__(
        self, log_history: Sequence[float] = (), count_history: Sequence[int] = (), max_length: int = 100_000
    ) -> None:
        if len(log_history) != len(count_history):
            raise ValueError(f"{len(log_history)} values and {len(count_history)} counts: lengths must be equal")
        self.max_length = max_length
        self._set_default_statistics()
        self._size = min(len(log_history), max_length)
        self._values = np.array(log_history[len(log_history) - self._size :], dtype=np.float64)
        self._counts = np.array(count_history[len(count_history) - self._size :], dtype=np.int64)
        self._waiting: list[tuple[int, torch.Tensor]] = []

    def update(self, log_val: float | torch.Tensor, count: int = 1) -> None:
        if self._size == len(self._values):
            self._make_room()
        if isinstance(log_val, torch.Tensor):
            self._waiting.append((self._size, log_val))
            log_val = np.nan
        self._values[self._size] = log_val
        self._counts[self._size] = count
        self._size += 1
        if len(self._waiting) >= _MAX_WAITING:
            self._read_waiting()

    def _make_room(self) -> None:
        self._read_waiting()
        kept = min(self._size, self.max_length)
        capacity = max(64, 2 * kept)
        for name in ("_values", "_counts"):
            old = getattr(self, name)
            new = np.empty(capacity, dtype=old.dtype)
            new[:kept] = old[self._size - kept : self._size]
            setattr(self, name, new)
        self._size = kept

    def _read_waiting(self) -> None:
        if self._waiting:
            places, tensors = zip(*self._waiting, strict=True)
            self._values[list(places)] = torch.stack([t.reshape(()).double() for t in tensors]).tolist()
            self._waiting.clear()

    # The statistics of the parent class read these two.
    @property
    def _log_history(self) -> np.ndarray:
        self._read_waiting()
        return self._values[: self._size]

    @property
    def _count_history(self) -> np.ndarray:
        return self._counts[: self._size]


def _to_plain(history: MMEngineHistoryBuffer) -> dict[str, Any]:
    values, counts = history.data
    return {
        _HISTORY: torch.tensor(values, dtype=torch.float64),
        "counts": torch.tensor(counts, dtype=torch.int64),
        "max_length": history.max_length,
    }


def _from_plain(plain: dict[str, Any]) -> HistoryBuffer:
    return HistoryBuffer(plain[_HISTORY].numpy(), plain["counts"].numpy(), max_length=plain["max_length"])


register_kind(_HISTORY, MMEngineHistoryBuffer, _to_plain, _from_plain)


class MessageHub(MMEngineMessageHub):
    """The message hub of the Runner."""

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        self._set_resumed_keys(key, resumed)
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            if value.numel() != 1:
                raise ValueError(f"{key} has {value.numel()} elements; only scalars can be logged")
            value = value.detach()
        else:
            value = self._get_valid_value(value)
        history = self._log_scalars.get(key)
        if history is None:
            history = self._log_scalars[key] = HistoryBuffer()
        history.update(value, count)
