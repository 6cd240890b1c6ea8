"""Checks shared by the metrics, and warnings about data that a metric does not include."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from vislab.errors import DataError, VislabError


def to_array(data: Any) -> np.ndarray:
    """Convert a tensor or array-like to a NumPy array; float16 and bfloat16 tensors become float32."""
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        return (data.float() if data.is_floating_point() and data.dtype != torch.float64 else data).numpy()
    return np.asarray(data)


def require_field(sample: Mapping[str, Any], key: str, metric: str, remedy: str) -> Any:
    """Return `sample[key]`.

    Raises:
        DataError: The sample has no such field; the message names the image and ends with `remedy`.
    """
    if key not in sample:
        raise DataError(f"{metric}: {sample.get('img_path', 'a sample')} has no {key}: {remedy}")
    return sample[key]


@contextmanager
def error_context(metric: str, sample: Mapping[str, Any]) -> Iterator[None]:
    """Convert exceptions caused by fields of unexpected types or shapes to a DataError that names metric and image."""
    try:
        yield
    except (VislabError, torch.OutOfMemoryError):
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        name = sample.get("img_path", "a sample")
        text = f"{metric}: labels or predictions of {name} cannot be evaluated: {type(error).__name__}: {error}"
        raise DataError(text) from error


def require_results(results: Sequence[Any], metric: str) -> None:
    """Raise DataError if no sample was evaluated."""
    if not len(results):
        raise DataError(f"{metric}: no sample was evaluated: the data loader of this split is empty")


def require_integers(data: torch.Tensor | np.ndarray, what: str) -> None:
    """Raise DataError if a map of class indices or ids has a float type; 0.7 or NaN would silently become class 0."""
    dtype = data.dtype
    floating = dtype.is_floating_point if isinstance(dtype, torch.dtype) else not np.issubdtype(dtype, np.integer)
    if floating:
        raise DataError(f"{what} is {str(dtype).removeprefix('torch.')}; expected integers, one index per pixel")


def warn(metric: str, text: str) -> None:
    """Log a warning of a metric."""
    print_log(f"{metric}: {text}", logger="current", level=logging.WARNING)


def warn_unlabeled(metric: str, names: Sequence[str], labeled: np.ndarray, what: str, more: str = "") -> None:
    """Warn about classes without ground truth in the dataset, which are not part of any mean.

    Args:
        metric: Name of the metric.
        names: Class names.
        labeled: (num_classes,) bool, whether the class has ground truth.
        what: Unit of the ground truth, "pixel" or "instance".
        more: Appended to the message.
    """
    absent = [str(name) for name, found in zip(names, labeled, strict=True) if not found]
    if absent:
        shown = ", ".join(repr(name) for name in absent[:10]) + (", ..." if len(absent) > 10 else "")
        warn(metric, f"{len(absent)} of {len(names)} classes have no labeled {what} in this set: {shown}{more}")
