"""Convert objects to tensors and Python objects for checkpoints, and back.

`torch.load(weights_only=True)` supports nothing else, so other objects raise an error when they are saved. NumPy arrays
and classes registered with `register_kind` are converted to marked dicts, from which they are restored.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch

from vislab.errors import CheckpointError

_ARRAY = "__numpy__"
_SCALARS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


class _Kind(NamedTuple):
    type: type
    to_plain: Callable[[Any], dict]
    from_plain: Callable[[dict], Any]


_KINDS: dict[str, _Kind] = {}
"""Registered classes by the key that marks them in a checkpoint."""


def register_kind(key: str, kind: type, to_plain: Callable[[Any], dict], from_plain: Callable[[dict], Any]) -> None:
    """Support objects of a class in checkpoints.

    Args:
        key: A key of the dict returned by `to_plain`, which marks it.
        kind: The class; subclasses are saved in the same way.
        to_plain: Returns a dict of tensors and Python objects.
        from_plain: Undoes `to_plain`.
    """
    _KINDS[key] = _Kind(kind, to_plain, from_plain)


def to_plain(value: Any, place: str = "checkpoint") -> Any:
    """Return a copy of nested containers with CPU tensors and Python objects only; tensors share their memory.

    NumPy scalars become Python numbers and paths become strings. NumPy arrays and registered classes are converted to a
    form that `from_plain` restores.

    Raises:
        CheckpointError: An object is not supported; the message states its position.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.generic) and value.dtype != object:
        return value.item()
    if isinstance(value, np.ndarray):
        plain = to_plain(value.tolist(), place)
        return {_ARRAY: plain, "dtype": value.dtype.str, "shape": list(value.shape)}
    for kind in _KINDS.values():
        if isinstance(value, kind.type):
            return kind.to_plain(value)
    if isinstance(value, Mapping):
        return _plain_mapping(value, place)
    if isinstance(value, (list, deque)):
        return [to_plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return {to_plain(item, f"{place}{{...}}") for item in value}
    if isinstance(value, tuple):
        return tuple(to_plain(item, f"{place}[{i}]") for i, item in enumerate(value))
    if isinstance(value, PurePath):
        return str(value)
    for kind in (str, int, float):  # subclasses such as enumerations or SeededIndex
        if isinstance(value, kind):
            return kind(value)
    return _refuse(value, place)


def _refuse(value: Any, place: str) -> Any:
    raise CheckpointError(
        f"cannot save {place}: it is a {type(value).__module__}.{type(value).__qualname__}, and checkpoints contain "
        "tensors and plain Python only (numbers, text, lists, dicts, numpy arrays). Save its numbers instead, or "
        "leave it out: message_hub.update_info(key, value, resumed=False)"
    )


def _plain_mapping(value: Mapping, place: str) -> dict:
    plain = OrderedDict() if isinstance(value, OrderedDict) else {}
    for key, item in value.items():
        name = key.item() if isinstance(key, np.generic) else key
        if not isinstance(name, (str, int, float, bool, tuple, type(None))):
            _refuse(key, f"a key of {place}")
        plain[name] = to_plain(item, f"{place}[{name!r}]")
    metadata = getattr(value, "_metadata", None)  # the versions in Module.state_dict
    if metadata is not None and isinstance(plain, OrderedDict):
        plain._metadata = to_plain(metadata, f"{place}._metadata")
    return plain


def from_plain(value: Any) -> Any:
    """Undo `to_plain`: restore NumPy arrays and registered classes in nested containers.

    Raises:
        CheckpointError: A marked dict is malformed, or containers contain themselves.
    """
    try:
        return _restored(value, {})
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint contains data that `to_plain` never writes ({type(error).__name__}: {error}): it was "
            "changed after it was saved, or written by another program. Use an earlier one."
        ) from error


def _restored(value: Any, done: dict[int, Any]) -> Any:
    """Restore a value; `done` has containers that were restored before, by identity."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        done[id(value)] = _restored_container(value, done)
    return done[id(value)]


def _restored_container(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(item, done) for item in value)
    if _ARRAY in value:
        return np.array(value[_ARRAY], dtype=np.dtype(value["dtype"])).reshape(value["shape"])
    for key, kind in _KINDS.items():
        if key in value:
            return kind.from_plain(value)
    if getattr(value, "_metadata", None) is not None:  # a state dict: nothing to restore
        return value
    restored = type(value)()
    for key, item in value.items():
        restored[key] = _restored(item, done)
    return restored
