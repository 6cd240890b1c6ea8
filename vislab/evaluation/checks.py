"""Checks that all metrics share: present fields, matching lengths, and warnings about what was left out of a figure."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from vislab.errors import DataError, VislabError


def to_array(data: Any) -> np.ndarray:
    """A tensor or array-like as a NumPy array; float16 and bfloat16 tensors become float32."""
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        return (data.float() if data.is_floating_point() and data.dtype != torch.float64 else data).numpy()
    return np.asarray(data)


def require_field(sample: Mapping[str, Any], key: str, metric: str, remedy: str) -> Any:
    """Returns `sample[key]`.

    Raises:
        DataError: the sample has no such field; the message names the image and ends with `remedy`.
    """
    if key not in sample:
        raise DataError(f"{metric}: {sample.get('img_path', 'a sample')} has no {key}: {remedy}")
    return sample[key]


@contextmanager
def error_context(metric: str, sample: Mapping[str, Any]) -> Iterator[None]:
    """Turns what fields of an unexpected kind or shape raise into a DataError that names metric and image."""
    try:
        yield
    except (VislabError, torch.OutOfMemoryError):
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        name = sample.get("img_path", "a sample")
        text = (
            f"{metric}: labels or predictions of {name} are not what the metric reads: {type(error).__name__}: {error}"
        )
        raise DataError(text) from error


def require_results(results: Sequence[Any], metric: str) -> None:
    """Raises DataError when no sample was evaluated: there is no figure of an empty set."""
    if not len(results):
        raise DataError(f"{metric}: no sample was evaluated: the data loader of this split is empty")


def require_integers(data: torch.Tensor | np.ndarray, what: str) -> None:
    """Raises DataError when a map of class indices or ids contains floats: 0.7 or NaN would become class 0 silently."""
    dtype = data.dtype
    floating = dtype.is_floating_point if isinstance(dtype, torch.dtype) else not np.issubdtype(dtype, np.integer)
    if floating:
        raise DataError(f"{what} is {str(dtype).removeprefix('torch.')}; expected integers, one index a pixel")


def warn(metric: str, text: str) -> None:
    """Logs one warning of a metric."""
    print_log(f"{metric}: {text}", logger="current", level=logging.WARNING)


def warn_unlabeled(metric: str, names: Sequence[str], labeled: np.ndarray, what: str, more: str = "") -> None:
    """Warns when classes have no ground truth in the whole set, since no mean contains them.

    Args:
        metric: Name of the metric.
        names: Class names.
        labeled: (num_classes,) bool: whether the class has ground truth.
        what: Unit of the ground truth, "pixel" or "instance".
        more: Appended to the message.
    """
    absent = [str(name) for name, found in zip(names, labeled, strict=True) if not found]
    if absent:
        shown = ", ".join(repr(name) for name in absent[:10]) + (", ..." if len(absent) > 10 else "")
        warn(metric, f"{len(absent)} of {len(names)} classes have no labeled {what} in this set: {shown}{more}")
