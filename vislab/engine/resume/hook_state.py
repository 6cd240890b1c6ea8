"""Save and restore the states of hooks in checkpoints.

Hooks with `state_dict()` and `load_state_dict(state)` define their state. For user-defined hooks without them,
attributes that changed are saved, if they are numbers, strings, tensors and containers of these. Hooks that save data
in the checkpoint themselves (`before_save_checkpoint`) are skipped. The state of the main process is restored on all
ranks.
"""

import copy
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

_UNCHANGED_ROOMS = ("mmengine.", "vislab.")  # their hooks have state_dict if needed
_SCALARS = (bool, int, float, complex, type(None), np.generic)


class HookStates:
    """The states of the hooks of a run.

    Args:
        hooks: The hooks in order, after `before_run`; their current attributes are considered settings.
    """

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = _named(hooks)
        self._settings = {
            name: copy.deepcopy(_plain_attributes(hook)) for name, hook in self._hooks.items() if _is_plain_hook(hook)
        }

    def state_dict(self) -> dict[str, dict]:
        """Return the states of hooks by class name; a second hook of a class is called NAME#2."""
        states = {}
        for name, hook in self._hooks.items():
            if hasattr(hook, "state_dict"):
                states[name] = hook.state_dict()
            elif name in self._settings:
                changed = {
                    key: value
                    for key, value in _plain_attributes(hook).items()
                    if key not in self._settings[name] or not _equal(value, self._settings[name][key])
                }
                if changed:
                    states[name] = changed
        return states

    def load_state_dict(self, states: Mapping[str, dict]) -> list[str]:
        """Restore the states of hooks; returns the names of hooks with `state_dict` but without a saved state."""
        without = []
        for name, hook in self._hooks.items():
            if hasattr(hook, "load_state_dict"):
                if name in states:
                    hook.load_state_dict(states[name])
                else:
                    without.append(name)
            elif name in self._settings:
                for key, value in states.get(name, {}).items():
                    setattr(hook, key, _as_before(value, getattr(hook, key, None)))
        return without


def _named(hooks: Sequence[Hook]) -> dict[str, Hook]:
    named: dict[str, Hook] = {}
    for hook in hooks:
        name, number = type(hook).__name__, 1
        while (key := name if number == 1 else f"{name}#{number}") in named:
            number += 1
        named[key] = hook
    return named


def _is_plain_hook(hook: Hook) -> bool:
    return (
        not type(hook).__module__.startswith(_UNCHANGED_ROOMS)
        and not hasattr(hook, "state_dict")
        and type(hook).before_save_checkpoint is Hook.before_save_checkpoint
    )


def _plain_attributes(hook: Hook) -> dict[str, Any]:
    return {key: value for key, value in vars(hook).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return os.sep not in value  # paths depend on the location of the run and are not part of its state
    if isinstance(value, Mapping):
        return all(isinstance(key, (str, int, float, tuple)) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype != object
    return isinstance(value, (*_SCALARS, torch.Tensor)) and not isinstance(value, torch.nn.Parameter)


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def _as_before(value: Any, current: Any) -> Any:
    """Return a loaded value in the form of the current one: deque length, class of mapping, device of tensor."""
    if isinstance(current, deque):
        return deque(value, current.maxlen)
    if isinstance(current, torch.Tensor) and isinstance(value, torch.Tensor):
        return value.to(current.device)
    if isinstance(current, dict) and isinstance(value, Mapping):
        restored = copy.copy(current)
        restored.clear()
        restored.update(value)
        return restored
    return value
