"""Shared by the command-line tools: error reporting and `--cfg-options`. No slow imports, so that `--help` is instant.

A tool has `parse_args()` and `main(args)`, with slow imports inside `main`::

    if __name__ == "__main__":
        args = parse_args()
        run(lambda: main(args))
"""

import errno
import math
import os
import re
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vislab.errors import ConfigError, VislabError

# Called with the message of an error; returns whether this process prints it. A run of several processes puts in here
# what lets the others know.
may_print: Callable[[str], bool] = bool


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its return value or 0; 2 after a user error, 130 after Ctrl-C, 143 after SIGTERM.

    User errors are VislabError, and exceptions of libraries with external causes (see `remedy`). They are printed as
    one message without a traceback, unless VISLAB_TRACEBACK=1 is set. Other exceptions are bugs and keep their
    traceback.
    """
    import logging  # takes ten milliseconds

    logging.raiseExceptions = False  # no tracebacks if a log cannot be written (disk full, `| head`)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        _print_once("\n".join(["terminated" if terminated else "interrupted", *map(str, stop.args)]))
        status = 143 if terminated else 130
    except BrokenPipeError:  # `tool | head`
        status = 0
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # yapf under mmengine's bare `except:`
            _print_once("interrupted")
            sys.exit(143 if isinstance(error.__context__, Terminated) else 130)
        told = error_message(error) if isinstance(error, VislabError) else remedy(error)
        if told is None or os.environ.get("VISLAB_TRACEBACK"):
            raise
        _print_once(f"error: {told}")
        status = 2
    try:
        sys.stdout.flush()
    except OSError:  # closed, or on a full disk: prevent Python from flushing again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status or 0)


def _print_once(text: str) -> None:
    if may_print(text):
        print(text, file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM (time limit of a scheduler, `kill`, shutdown); ends a run like Ctrl-C."""


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second SIGTERM kills the process
    raise Terminated


def error_message(error: BaseException) -> str:
    """Return the message of an error; for errors of data loader workers, without the traceback they include."""
    text = str(error)
    if "Original Traceback" in text:
        text = re.split(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", text, flags=re.MULTILINE)[-1]
    return text.strip()


_DISK = {  # external causes, not bugs
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.EIO,
}  # fmt: skip
_FOLDER = ": a file lies where a folder is needed; use another path"
_OTHER_PATH = {
    errno.EEXIST: _FOLDER, errno.ENOTDIR: _FOLDER, errno.EISDIR: ": a file is needed, not a folder; use another path",
}  # fmt: skip
_REMEDIES = [  # pattern in the message of a library -> remedy
    (r"DataLoader worker .*(killed by signal|exited unexpectedly)",
     "a data loader worker was killed, usually for lack of memory: lower num_workers or batch_size of the loaders; "
     "set train_dataloader.num_workers=0 to see the error itself"),
    (r"unable to (open|allocate|mmap|resize) shared memory|insufficient shared memory|unable to write to file </torch_",
     "the shared memory (/dev/shm) is too small for the data loaders: lower num_workers, or increase it "
     "(docker run --shm-size=8g)"),
    (r"CUDA out of memory|DefaultCPUAllocator: (can't|not enough)|out of memory",
     "not enough memory for this batch: lower train_dataloader.batch_size or the image size, or use --amp"),
    (r"Expected to have finished reduction in the prior iteration",
     "some parameters are not used in the loss: set find_unused_parameters=True in the config"),
    (r"EADDRINUSE|address already in use",
     "another run uses the port: set another one with MASTER_PORT=29501 (PORT=29501 for tools/dist_train.sh)"),
    (r"[Pp]lease run .?.?pip install|pip install", "install it, or remove the part of the config that needs it"),
]  # fmt: skip


def remedy(error: BaseException) -> str | None:
    """Return a message for an error of a library with an external cause; None if the error is a bug."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno in _DISK:
        advice = _OTHER_PATH.get(error.errno, "")
        return f"{error.filename or 'a file'}: {error.strerror}{advice}" if error.strerror else text
    if isinstance(error, MemoryError):
        return "not enough memory: lower the batch size, the image size or num_workers"
    if isinstance(error, (RuntimeError, ImportError)):
        for pattern, advice in _REMEDIES:
            if re.search(pattern, text, flags=re.DOTALL):
                return f"{text.splitlines()[0][:300].rstrip('.')}. {advice[0].upper()}{advice[1:]}."
    return None


@contextmanager
def explained_shape(shape: Sequence[int] | None) -> Iterator[None]:
    """Raise the error of a model that cannot take images of `shape` as a ConfigError; without a shape, as it is."""
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:
        if not shape or remedy(error):  # memory
            raise
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"--shape {' '.join(map(str, shape))}: the model does not take images of this size: {reason}. Use another "
            "one, or change the model with --cfg-options, e.g. model.img_size=64"
        ) from error


def command(name: str) -> str:
    """Return the start of a command line for `name`, such as "test", in the form that started this process.

    "vislab test", "python -m vislab test", or "python tools/test.py" in scripts of the checkout and from Python.
    """
    program = os.path.basename(sys.argv[0])
    if program in ("vislab", "vislab.exe"):
        return f"vislab {name}"
    if program == "__main__.py":
        return f"python -m vislab {name}"
    return f"python tools/{name.replace('-', '_')}.py"


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Format metrics for the terminal: numbers on one line, text metrics on separate lines."""
    numbers = [f"{key}: {value:.6g}" for key, value in metrics.items() if not isinstance(value, str)]
    words = [f"{key}: {value}" for key, value in metrics.items() if isinstance(value, str)]
    return "\n".join(["  ".join(numbers), *words])


def at_least(low: float, kind: type[int] | type[float] = int) -> Callable[[str], float]:
    """Return a `type=` of argparse: a finite number from `low` on, whole unless `kind` is float."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < math.inf:
            what = "whole number" if kind is int else "number"
            raise ArgumentTypeError(f"expected a {what} of at least {low}, got {text!r}")
        return value

    return convert


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add `--cfg-options KEY=VALUE ...`, whose values are parsed by `parse_cfg_options`."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        default=[],
        help="settings to change, e.g. optim_wrapper.optimizer.lr=0.01 train_cfg.max_epochs=3 model.sizes=[1,2]",
    )


def parse_cfg_options(options: list[str] | None) -> dict[str, Any]:
    """Turn `["a.b=1", "c=[x,2.5]"]` into `{"a.b": 1, "c": ["x", 2.5]}`.

    Values become int, float, bool, None, list (`[..]` or `1,2`), tuple (`(..)`), otherwise they remain text, as do
    `2024_01_02` and `007`. A quoted value is always text: `name='1'`, `title="a, b"`.

    Raises:
        ConfigError: An option has no `=`, an empty key or value, or brackets or quotes that do not close.
    """
    parsed: dict[str, Any] = {}
    for option in options or []:
        key, equals, value = (part.strip() for part in option.partition("="))
        if not equals or not key:
            raise ConfigError(f"--cfg-options: {option!r} is not of the form KEY=VALUE (e.g. train_cfg.max_epochs=3)")
        if not value:
            raise ConfigError(f"--cfg-options: {option!r} has no value; an empty text is written {key}=\"''\"")
        if value[0] == "{":
            raise ConfigError(f"--cfg-options: {option!r} is a dict: set its parts one by one, {key}.PART=VALUE")
        parsed[key] = _parse_value(value, option)
    return parsed


def _parse_value(text: str, option: str) -> Any:
    parts = _split_at_commas(text, option)
    if len(parts) > 1 or text.endswith(","):
        return [_parse_value(part, option) for part in parts]
    if text[:1] + text[-1:] in ("[]", "()"):
        inner = [_parse_value(part, option) for part in _split_at_commas(text[1:-1], option)]
        return tuple(inner) if text[0] == "(" else inner
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if re.fullmatch(r"[+-]?(0|[1-9]\d*)", text):
        return int(text)
    if re.fullmatch(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", text.lower()) and not re.match(r"[+-]?0\d", text):
        return float(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _split_at_commas(text: str, option: str) -> list[str]:
    """Split at the commas outside brackets and quotes; a trailing comma, as in `(1,)`, adds nothing.

    A quote opens a text only at the beginning of a part: `it's` is text without quotes.
    """
    parts, start, depth, quote = [], 0, 0, ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not text[start:i].strip(" [("):
            quote = char
        else:
            depth += (char in "[(") - (char in "])")
            if depth < 0:
                break
        if char == "," and depth == 0 and not quote:
            parts.append(text[start:i].strip())
            start = i + 1
    if depth != 0 or quote:
        raise ConfigError(f"--cfg-options: the {'quotes' if quote else 'brackets'} of {option!r} do not match")
    tail = text[start:].strip()
    return parts + [tail] if tail else parts
