"""Exceptions for errors that users can fix. Tools print them as one message without a traceback and exit with status 2.

The message states what was given, what was expected, and the remedy. It is the only argument, since data loader workers
and mmengine's builders re-create exceptions from their message.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class VislabError(Exception):
    """Base class of errors in inputs, files and settings."""


class ConfigError(VislabError):
    """The config is invalid: unknown key, wrong type, missing file."""


class DataError(VislabError):
    """A dataset, image, annotation or video is missing, damaged or inconsistent."""


class CheckpointError(VislabError):
    """A checkpoint is missing, truncated, unsafe, or belongs to another model."""


class ExportError(VislabError):
    """A model cannot be exported, or the exported file would differ from the model."""


class TrainingError(VislabError):
    """Training cannot continue: the loss or the weights are not finite."""


def nearest(name: str, candidates: Iterable[str], count: int = 1) -> list[str]:
    """Return the `count` candidates most similar to `name`, best first; empty if none is close."""
    by_lower = {}
    for candidate in sorted({str(c) for c in candidates}, reverse=True):
        by_lower[candidate.lower()] = candidate
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)
    if not close:  # `epochs` for `max_epochs`, `root` for `data_root`
        close = sorted((c for c in by_lower if len(name) > 2 and (name.lower() in c or c in name.lower())), key=len)
    return [by_lower[c] for c in close[:count]]


def did_you_mean(name: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """Return a hint such as "; did you mean 'lr'?" for the end of a sentence; `otherwise` if no candidate is close."""
    close = nearest(name, candidates)
    return f"; did you mean {close[0]!r}?" if close else otherwise


def check_choice(what: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ConfigError if `value` is not one of `choices`.

    Args:
        what: Name of the argument, with its class: "CAE: target_context".
        value: Its value.
        choices: The allowed values; None is not listed in the message.
    """
    if value not in (known := list(choices)):
        names = [str(choice) for choice in known if choice is not None]
        raise ConfigError(f"{what}={value!r} is not one of {', '.join(names)}{did_you_mean(str(value), names)}")
