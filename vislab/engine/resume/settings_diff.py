"""Convert the settings of a run for checkpoints, and describe the differences between two runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

# Settings of locations, logging and data loading, which do not affect results.
_ELSEWHERE = {
    "cfg", "work_dir", "resume", "load_from", "launcher", "experiment_name", "log_level", "log_processor", "visualizer",
    "env_cfg", "default_scope", "randomness", "auto_scale_lr", "test_dataloader", "test_cfg", "test_evaluator",
    "num_workers", "persistent_workers", "prefetch_factor", "pin_memory", "logger", "timer", "progress", "runtime_info",
}  # fmt: skip
_TOLD_BY_OPTIMIZERS = {"optim_wrapper.optimizer", "param_scheduler"}  # see OptimizationState
_ABSENT = object()


def plain_settings(value: Any) -> Any:
    """Convert nested settings to numbers, strings, lists and dicts; classes and functions become their names.

    Lists of components become dicts by class name, so that additional components do not shift the others.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_settings(item) for key, item in value.items() if str(key) not in _ELSEWHERE}
    if isinstance(value, (bool, int, float, type(None))):
        return value
    if isinstance(value, (str, PurePath)):
        return str(value)
    if isinstance(value, Sequence):
        if value and all(isinstance(item, Mapping) and "type" in item for item in value):
            return _by_type(value)
        return [plain_settings(item) for item in value]
    return _name_of(value)


def _by_type(components: Sequence[Mapping]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for component in components:
        name, number = _last(plain_settings(component["type"])), 1
        while (key := name if number == 1 else f"{name}#{number}") in named:
            number += 1
        named[key] = plain_settings(component)
    return named


def _name_of(value: Any) -> str:
    """Return the name of a class or function, or of the class of another object."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def differences(then: Any, now: Any, place: str = "") -> Iterator[str]:
    """Return `place: old -> new` for each setting that differs, except for optimizers and schedulers."""
    if place in _TOLD_BY_OPTIMIZERS:
        return
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in [*then, *(key for key in now if key not in then)]:
            yield from differences(
                then.get(key, _ABSENT), now.get(key, _ABSENT), f"{place}.{key}" if place else str(key)
            )
    elif not _same(then, now, place.rpartition(".")[2]):
        yield f"{place}: {_text(then)} -> {_text(now)}"


def _same(one: Any, other: Any, key: str) -> bool:
    if key == "type":  # a class, its dotted name and its registered name are equivalent
        return _last(str(one)) == _last(str(other))
    if {type(one), type(other)} <= {type(None), object}:
        return True
    return one == other


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "(not there)"
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key != "type"} or "default settings"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
