"""Extract the weights of a checkpoint and load them into a model."""

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from vislab.errors import CheckpointError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.paths import expand_path
from vislab.io.sharded import split_like

logger = logging.getLogger(__name__)

# Keys of the weights in checkpoints of different projects, in search order.
_WEIGHT_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "params")


class LoadReport(NamedTuple):
    """Names in the model only, in the checkpoint only, and in both with different shapes."""

    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


def get_weights(checkpoint: Mapping, source: str | os.PathLike = "checkpoint") -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint: its `state_dict`, its `model`, or itself, without a leading `module.`.

    Raises:
        CheckpointError: There are no weights, or some are not dense tensors.
    """
    entries = weight_entries(checkpoint)
    weights = {}
    for key, value in entries.items():
        if isinstance(value, torch.Tensor) and isinstance(key, str):
            kind = _unusual_kind(value)
            if kind:
                raise CheckpointError(
                    f"{source}: {key} is {kind}; weights are dense tensors. Convert it where it was saved "
                    "(to_dense(), dequantize()), and save it again."
                )
            weights[key.removeprefix("module.")] = value
    if not weights:
        raise CheckpointError(
            f"{source} contains no weights; its top-level keys are {_some(list(map(str, checkpoint)))}."
        )
    return weights


def read_weights(path: str, what: str = "pretrained") -> dict[str, torch.Tensor]:
    """Return the weights in a .safetensors or .pth file, or in a checkpoint, by name.

    Args:
        path: Path of the file; may contain `$VISLAB_DATA`.
        what: Name of the setting in messages.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe, or has no weights.
        DataError: An environment variable in `path` is not set.
    """
    return get_weights(load_checkpoint(expand_path(path, what)), path)


def weight_entries(checkpoint: Mapping) -> Mapping:
    """Return the mapping in a checkpoint that contains the weights, including its other entries."""
    for _ in range(4):  # {"state_dict": {"model": {...}}}
        if any(isinstance(value, (torch.Tensor, np.ndarray)) for value in checkpoint.values()):
            break
        inner = next((checkpoint[key] for key in _WEIGHT_KEYS if isinstance(checkpoint.get(key), Mapping)), None)
        if inner is None:
            break
        checkpoint = inner
    return checkpoint


def _unusual_kind(value: torch.Tensor) -> str | None:
    if value.is_quantized:
        return "a quantized tensor"
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return f"a sparse tensor ({value.layout})"
    return "without content (device meta)" if value.is_meta else None


def load_state(
    model: torch.nn.Module, checkpoint: Mapping, source: str | os.PathLike = "checkpoint", *, partial: bool = False
) -> LoadReport:
    """Load the weights of a checkpoint into a model.

    Args:
        model: The model itself, without a wrapper for several processes.
        checkpoint: Return value of `load_checkpoint`.
        source: Its path, for messages.
        partial: Allow missing weights and weights of other shapes, e.g. for a new head; they keep their initial values
            and are listed in a warning. Otherwise they are errors. Weights that are not in the model are always skipped
            with a warning.

    Raises:
        CheckpointError: The checkpoint belongs to another model, or its weights are of another type.
    """
    weights = get_weights(checkpoint, source)
    own = model.state_dict()
    wrong = {
        key: f"{key} ({_shape(weights[key])} in the file, {_shape(own[key])} in the model)"
        for key in weights
        if key in own and isinstance(own[key], torch.Tensor) and own[key].shape != weights[key].shape
    }
    mismatched = list(wrong.values())
    fitting = {key: value for key, value in weights.items() if key not in wrong}
    check_types(own, fitting, source)
    if not partial and mismatched or (own and not any(key in own for key in fitting) and not _has_load_hooks(model)):
        raise CheckpointError(_other_model(model, source, weights, own, mismatched, checkpoint))
    try:
        split = {key: split_like(value, own.get(key)) for key, value in fitting.items()}
        missing, unexpected = model.load_state_dict(split, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: {error}") from error
    missing = [key for key in missing if key not in wrong and not key.endswith("num_batches_tracked")]
    if not partial and missing or (own and len(missing) + len(wrong) >= len(own)):
        raise CheckpointError(_other_model(model, source, weights, own, mismatched, checkpoint))
    report = LoadReport(missing, list(unexpected), mismatched)
    if any(report):
        logger.warning(_summary(report, source))
    return report


def check_types(own: Mapping[str, Any], weights: Mapping[str, torch.Tensor], source: Any) -> None:
    """Check the number types of weights, and warn about non-finite weights.

    `copy_` converts integers to floats and drops imaginary parts without an error, so that quantized or packed weights
    would be loaded as if they were valid.

    Args:
        own: The model's state dict.
        weights: The weights of the file, with the same shapes; names that are not in the model are ignored.
        source: Path of the file, for messages.

    Raises:
        CheckpointError: A number type of the file cannot be converted to that of the model.
    """
    pairs = [(key, own[key], value) for key, value in weights.items() if isinstance(own.get(key), torch.Tensor)]
    wrong = [
        f"{key} ({_type(value)} in the file, {_type(mine)} in the model)"
        for key, mine, value in pairs
        if _number_kind(mine) != _number_kind(value) and not _is_same_number(key, mine, value)
    ]
    if wrong:
        raise CheckpointError(
            f"{source} contains weights of another number type than the model's: {_some(wrong, 3)}. Quantized or "
            "packed weights are not converted; take the file with the original ones."
        )
    broken = [key for key, mine, value in pairs if not _is_finite(value) and _is_finite(mine)]
    if broken:
        logger.warning(
            f"{source}: {len(broken)} of {len(pairs)} weights contain NaN or infinity: {_some(broken)}. Unless they "
            "are masks, the training that wrote them had diverged: use an earlier checkpoint."
        )


def _number_kind(value: torch.Tensor) -> str:
    return "complex" if value.is_complex() else "float" if value.is_floating_point() else "integer"


def _is_same_number(key: str, mine: torch.Tensor, value: torch.Tensor) -> bool:
    """Return whether a float can be loaded as an integer, as for counters in averaged weights."""
    if _number_kind(mine) != "integer" or not value.is_floating_point():
        return False
    return key.endswith("num_batches_tracked") or torch.equal(value.to(mine.dtype).to(value.dtype), value)


def _is_finite(value: torch.Tensor) -> bool:
    """Return whether all values are finite; checks the sum first, which is fast and needs no memory."""
    if not value.is_floating_point() or value.is_meta or not value.numel():
        return True
    if value.dtype.itemsize == 1:  # float8 has no sum
        value = value.float()
    total = value.sum(dtype=torch.float32 if value.dtype.itemsize < 4 else None)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(value).all())


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _has_load_hooks(model: torch.nn.Module) -> bool:
    """Return whether a module may rename weights while loading, so that names cannot be compared before."""
    return any(module._load_state_dict_pre_hooks for module in model.modules())


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _some(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "") or "none"


def _other_model(
    model: torch.nn.Module, source: Any, weights: Mapping, own: Mapping, mismatched: list[str], checkpoint: Mapping
) -> str:
    missing, unknown = [k for k in own if k not in weights], [k for k in weights if k not in own]
    strange = [f"{key} (a {kind})" for key, kind in _non_tensors(checkpoint) if key in own]
    lines = [
        f"{source} belongs to another model than {type(model).__name__}: "
        f"{len(own) - len(missing) - len(mismatched)} of the model's {len(own)} weights are in it with the right shape."
    ]
    lines += [f"  missing in the file ({len(missing)}): {_some(missing)}"] if missing else []
    lines += [f"  in the file, but no tensor ({len(strange)}): {_some(strange)}"] if strange else []
    lines += [f"  unknown to the model ({len(unknown)}): {_some(unknown)}"] if unknown else []
    lines += [f"  of another shape ({len(mismatched)}): {_some(mismatched, 3)}"] if mismatched else []
    remedy = "Use the config the checkpoint was trained with, or a checkpoint of this config."
    part = single_part(own, weights)
    if part:
        remedy = (
            f"The file holds the {part} alone, as published and exported encoders do. That is enough for probes and "
            f"fine-tuning, but a {type(model).__name__} cannot predict, draw or resume without its other parts: use a "
            "checkpoint of a whole training."
        )
    return "\n".join([*lines, remedy])


def single_part(own: Collection[str], weights: Collection[str]) -> str | None:
    """Return the only part of a model that most names of a file belong to, with or without its prefix, if any.

    `own` are the names of the model's weights, `weights` those of the file.
    """
    parts = sorted({key.split(".")[0] for key in own if "." in key})
    inside = {part: {key for key in weights if f"{part}.{key.removeprefix(f'{part}.')}" in own} for part in parts}
    part = max(parts, key=lambda name: len(inside[name]), default="")
    if len(parts) < 2 or 2 * len(inside[part]) <= len(weights):
        return None
    return None if any(key in own for key in weights if key not in inside[part]) else part


def _non_tensors(checkpoint: Mapping) -> Iterator[tuple[str, str]]:
    for key, value in weight_entries(checkpoint).items():
        if isinstance(key, str) and not isinstance(value, torch.Tensor):
            yield key.removeprefix("module."), type(value).__name__


def _summary(report: LoadReport, source: Any) -> str:
    kinds = ("not in the file, kept at their initial values", "not in the model, left out", "of another shape, skipped")
    parts = [f"{len(names)} {kind}: {_some(names)}" for kind, names in zip(kinds, report, strict=True) if names]
    return f"loaded {source} except for weights\n  " + "\n  ".join(parts)
