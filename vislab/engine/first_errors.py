"""Convert exceptions before the first completed step into one message about incompatible parts of a config."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vislab.cli import error_message, remedy
from vislab.errors import ConfigError, VislabError


@contextmanager
def one_message(what: str, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Context manager that converts exceptions of incompatible parts of a config into one ConfigError.

    Args:
        what: Description of the step, for the message.
        when: Called on an exception; if it returns False, the exception is not converted.

    Raises:
        ConfigError: In place of an exception that is not a VislabError and has no known fix outside the config.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, VislabError) or remedy(error) is not None or not when():
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "vislab" in Path(frame.filename).parts]
        frame = (own or frames)[-1]
        raise ConfigError(
            f"{what} fails in {frame.name} ({'/'.join(Path(frame.filename).parts[-3:])}, line {frame.lineno}): "
            f"{type(error).__name__}: {error_message(error)}\nParts of the config do not fit together, such as numbers "
            "of channels or classes, image sizes, or what the pipeline loads and the model and metrics read. "
            "VISLAB_TRACEBACK=1 shows the traceback."
        ) from error
