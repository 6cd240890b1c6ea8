"""A setting that leaves out initial weights of models that are built, where a checkpoint with all weights follows.

Classes name their arguments for initial weights in `initial_weights: ClassVar[tuple[str, ...]]`; the config check then
does not ask for the files. Networks outside of the state dict, such as a frozen teacher, are not in checkpoints: they
always load theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOADED = ContextVar("initial_weights_loaded", default=True)


def are_loaded() -> bool:
    """Return whether initial weights are loaded."""
    return _LOADED.get()


@contextmanager
def initial_weights(*, load: bool) -> Iterator[None]:
    """Load initial weights of models that are built here, or leave weights random that a checkpoint will replace."""
    token = _LOADED.set(load and _LOADED.get())
    try:
        yield
    finally:
        _LOADED.reset(token)
