"""Check that a checkpoint can be resumed from, and convert errors during resuming to one message."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vislab.engine.optim.layout import own_implementation
from vislab.errors import CheckpointError, VislabError
from vislab.io.weights import single_part, weight_entries

# Entries of optimizer states with the shape of the parameter; others (steps, factors of Adafactor) have other shapes.
_LIKE_PARAMETER = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum")


def check_run_state(checkpoint: Mapping[str, Any], path: Any, own: Collection[str] = ()) -> None:
    """Check the parts of a checkpoint that are needed for resuming; `own` are the names of the model's parameters.

    Raises:
        CheckpointError: Parts are missing or invalid; the message names all of them.
    """
    lacking = [key for key in ("meta", "message_hub", "optimizer") if key not in checkpoint]
    part = single_part(own, [str(name) for name in weight_entries(checkpoint)]) if lacking else None
    if part:
        others = ", ".join(sorted({name.split(".")[0] for name in own if "." in name} - {part}))
        raise CheckpointError(
            f"{path} cannot be resumed from: it holds the {part} alone, as published and exported encoders do, without "
            f"{others} and the state of the optimizer. Resume from an epoch_*.pth or iter_*.pth file of a whole "
            "training; the encoder alone can be probed (tools/probe.py) and fine-tuned (--load-from, with the config "
            "of a fine-tuning)."
        )
    if lacking:
        raise CheckpointError(
            f"{path} cannot be resumed from: it has no {', '.join(lacking)}. Files named best_* and weights of "
            "other projects contain only the model; use an epoch_*.pth or iter_*.pth file, or start a new run with "
            "--load-from."
        )
    wrong = list(_wrong_parts(checkpoint))
    if wrong:
        raise CheckpointError(
            f"{path} cannot be resumed from: {'; '.join(wrong)}. It was changed after it was saved, or written by "
            "another program; use an earlier checkpoint, or its weights alone with --load-from."
        )


def _wrong_parts(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    for key in ("meta", "message_hub", "optimizer"):
        if not isinstance(checkpoint[key], Mapping):
            yield f"{key} is a {type(checkpoint[key]).__name__}, not a dict"
    meta, hub = checkpoint["meta"], checkpoint["message_hub"]
    if isinstance(meta, Mapping):
        for key in ("epoch", "iter"):
            if type(meta.get(key)) is not int or meta[key] < 0:
                yield f"meta[{key!r}] is {meta.get(key)!r}, not a number of finished {key}s"
        if type(meta.get("seed")) not in (int, type(None)):
            yield f"meta['seed'] is {meta['seed']!r}, not a number"
    if isinstance(hub, Mapping):
        for key in ("log_scalars", "runtime_info", "resumed_keys"):
            if not isinstance(hub.get(key), Mapping):
                yield f"message_hub[{key!r}] is not a dict"
            elif strange := [name for name in hub[key] if not isinstance(name, str)]:
                yield f"message_hub[{key!r}] has the key {strange[0]!r}, which is not a name"
    if not isinstance(checkpoint.get("param_schedulers"), (list, Mapping, type(None))):
        yield "param_schedulers is not a list"
    if not isinstance(checkpoint.get("random_state"), (list, type(None))):
        yield "random_state is not a list"


@contextmanager
def reading_part(path: Any, what: str) -> Iterator[None]:
    """Context manager that converts exceptions to a CheckpointError with the file and `what` did not match.

    Optimizers, hooks and logs do not check the states that they load.
    """
    try:
        yield
    except VislabError:
        raise
    except Exception as error:
        told = isinstance(error, (ValueError, RuntimeError))  # messages of other types are not informative
        reason = " ".join(f"{error}".split() if told else f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise CheckpointError(
            f"{path} does not fit this {what}: {reason}. Resume with the config the run was started with, or start a "
            "new run from its weights with --load-from."
        ) from error


def load_optimizer_state(optim_wrapper: Any, state: Mapping[str, Any]) -> None:
    """Load the state of an optimizer, keep its implementation, and compare the state with the parameters.

    torch compares only the numbers of groups and parameters.

    Raises:
        ValueError: A state has another shape than its parameter, or a setting has the wrong type.
    """
    wrappers = optim_wrapper.optim_wrappers.values() if hasattr(optim_wrapper, "optim_wrappers") else [optim_wrapper]
    fresh = [[dict(group) for group in wrapper.optimizer.param_groups] for wrapper in wrappers]
    with own_implementation(wrapper.optimizer for wrapper in wrappers):
        optim_wrapper.load_state_dict(state)
    for wrapper, groups in zip(wrappers, fresh, strict=True):
        for own, loaded in zip(groups, wrapper.optimizer.param_groups, strict=True):
            lacking = sorted(own.keys() - loaded.keys())
            if lacking:
                raise ValueError(f"param_groups have no {', '.join(lacking)}")
            check_settings(own, loaded, "param_groups")
        for parameter, entries in wrapper.optimizer.state.items():
            if isinstance(parameter, torch.Tensor):
                _check_parameter_state(parameter, entries)


def _check_parameter_state(parameter: torch.Tensor, entries: Mapping[str, Any]) -> None:
    for key, value in entries.items():
        if key in _LIKE_PARAMETER and value is not None:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            if shape != tuple(parameter.shape):
                raise ValueError(f"{key} of a parameter of shape {tuple(parameter.shape)} has shape {shape}")
        elif key == "step" and not _is_number(value):
            raise ValueError(f"the step of a parameter is {value!r}")


def check_settings(own: Mapping[str, Any], loaded: Mapping[str, Any], what: str) -> None:
    """Compare the types of loaded settings with those of a new object.

    Raises:
        ValueError: A type differs; the message names the setting.
    """
    containers = (list, tuple, Mapping)
    for key in own.keys() & loaded.keys():
        value, other = own[key], loaded[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and not _is_number(other) or isinstance(value, containers) != isinstance(other, containers):
            raise ValueError(f"{what}: {key} is {str(other)[:60]!r}, and {str(value)[:60]!r} at the start")
        if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value):
            strange = [entry for entry in other if not _is_number(entry)]
            if strange:
                raise ValueError(f"{what}: {key} contains {str(strange[0])[:60]!r}, which is not a number")


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex() and bool(torch.isfinite(value))
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")
