"""The errors a user can mend. Tools print them as one message, without a traceback, and exit with status 2.

Each takes one text: what was given, what was expected, and what to do. One positional argument only, so that the
message survives the trip out of a data-loader worker and through mmengine's builders, which re-create exceptions from
their text.
"""

import difflib
from collections.abc import Iterable


class VislabError(Exception):
    """Something in the user's reach is wrong: an input, a file, a setting."""


class ConfigError(VislabError):
    """The configuration cannot work: unknown key, wrong type name, missing file."""


class DataError(VislabError):
    """A dataset, image, annotation or video is missing, broken, or contradicts itself."""


class CheckpointError(VislabError):
    """A checkpoint is missing, truncated, unsafe, or belongs to another model."""


class TrainingError(VislabError):
    """Training cannot go on: the loss or the weights are no longer finite."""


def nearest(name: str, candidates: Iterable[str], count: int = 1) -> list[str]:
    """The `count` candidates that look most like `name`, best first; empty when none is close."""
    by_lower = {}
    for candidate in sorted({str(c) for c in candidates}, reverse=True):
        by_lower[candidate.lower()] = candidate
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)
    if not close:  # `epochs` for `max_epochs`, `root` for `data_root`
        close = sorted((c for c in by_lower if len(name) > 2 and (name.lower() in c or c in name.lower())), key=len)
    return [by_lower[c] for c in close[:count]]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`"; did you mean 'lr'?"`, or an empty text when nothing is close: to be put at the end of a message."""
    close = nearest(name, candidates)
    return f"; did you mean {close[0]!r}?" if close else ""
