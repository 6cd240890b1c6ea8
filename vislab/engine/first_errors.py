"""One message for what parts of a config raise that do not fit together, up to the first step."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vislab.cli import error_message, remedy
from vislab.errors import ConfigError, VislabError


@contextmanager
def one_message(what: str, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Turns what parts of a config raise that do not fit together into one message with its place.

    Args:
        what: What was being done.
        when: Asked when something is raised; False leaves it as it is.

    Raises:
        ConfigError: in place of any error that is no VislabError and has no remedy outside the config.
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
