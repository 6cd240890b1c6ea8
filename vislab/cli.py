"""What every command-line tool shares: error reporting and `--cfg-options`. Imports nothing heavy: `--help` is instant.

A tool is a `parse_args()` and a `main(args)`; heavy imports stand inside `main`::

    if __name__ == "__main__":
        args = parse_args()
        run(lambda: main(args))
"""

import errno
import os
import re
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from vislab.errors import ConfigError, VislabError

# Called with the message of an error; returns whether this process prints it. A run of several processes puts in here
# what lets the others know.
may_print: Callable[[str], bool] = bool


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and leave the process: status 0 or what it returns; 2 after an error that the user can mend, 130
    after Ctrl-C, 143 after SIGTERM.

    Such an error is a VislabError, or one that a library raises for a reason outside the program (see `remedy`). It is
    printed as one message without a traceback; set VISLAB_TRACEBACK=1 to see the traceback too. Any other exception is
    a bug and keeps its traceback.
    """
    import logging  # ten milliseconds of `--help`

    logging.raiseExceptions = False  # a log that cannot be written (disk full, `| head`) is no reason for tracebacks
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        _print_once("\n".join(["terminated" if terminated else "interrupted", *map(str, stop.args)]))
        status = 143 if terminated else 130
    except BrokenPipeError:  # `tool | head`: the reader has seen enough
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
    except OSError:  # closed, or on a full disk: nobody reads what is left, and Python must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status or 0)


def _print_once(text: str) -> None:
    if may_print(text):
        print(text, file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """SIGTERM: a scheduler's time limit, `kill`, a machine that goes down. Ends a run as Ctrl-C does."""


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second one does not wait
    raise Terminated


def error_message(error: BaseException) -> str:
    """The text of an error. Data-loader workers wrap theirs in a traceback: only the message they raised is kept."""
    text = str(error)
    if "Original Traceback" in text:
        text = re.split(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", text, flags=re.MULTILINE)[-1]
    return text.strip()


_DISK = {  # a file or disk of the user's, not a mistake of the program
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.EIO,
}  # fmt: skip
_REMEDIES = [  # part of a library's message -> what to do
    (r"DataLoader worker .*(killed by signal|exited unexpectedly)",
     "a process that loads data has died, mostly for want of memory: lower num_workers or batch_size of the loaders; "
     "with train_dataloader.num_workers=0 the error itself is seen"),
    (r"unable to (open|allocate|mmap|resize) shared memory|insufficient shared memory|unable to write to file </torch_",
     "the shared memory (/dev/shm) is too small for the loaders: lower num_workers, or give the container more "
     "(docker run --shm-size=8g)"),
    (r"CUDA out of memory|DefaultCPUAllocator: (can't|not enough)|out of memory",
     "the memory is too small for this batch: lower train_dataloader.batch_size or the image size, or use --amp"),
    (r"Expected to have finished reduction in the prior iteration",
     "some parameters had no part in the loss: set find_unused_parameters=True in the config"),
    (r"EADDRINUSE|address already in use",
     "another run uses the port: choose one with MASTER_PORT=29501 (PORT=29501 for tools/dist_train.sh)"),
    (r"[Pp]lease run .?.?pip install|pip install", "install it, or take what needs it out of the config"),
]  # fmt: skip


def remedy(error: BaseException) -> str | None:
    """One message for an error of a library whose cause lies outside the program; None: it is a bug."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.filename or 'a file'}: {error.strerror}" if error.strerror else text
    if isinstance(error, MemoryError):
        return "the memory is too small for this: lower the batch size, the image size or num_workers"
    if isinstance(error, (RuntimeError, ImportError)):
        for pattern, advice in _REMEDIES:
            if re.search(pattern, text, flags=re.DOTALL):
                return f"{text.splitlines()[0][:300].rstrip('.')}. {advice[0].upper()}{advice[1:]}."
    return None


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """One line for the terminal; a metric may say something in words, too."""
    numbers = [f"{key}: {value:.6g}" for key, value in metrics.items() if not isinstance(value, str)]
    words = [f"{key}: {value}" for key, value in metrics.items() if isinstance(value, str)]
    return "\n".join(["  ".join(numbers), *words])


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add `--cfg-options KEY=VALUE ...`; give the list to `parse_cfg_options`."""
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

    Values become int, float, bool, None, list (`[..]` or `1,2`), tuple (`(..)`), else stay text. Quotes around a value
    keep it text: `name='1'`.

    Raises:
        ConfigError: an option has no `=`, an empty key, or brackets that do not close.
    """
    parsed = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--cfg-options: {option!r} is not of the form KEY=VALUE (e.g. train_cfg.max_epochs=3)")
        parsed[key.strip()] = _parse_value(value.strip(), option)
    return parsed


def _parse_value(text: str, option: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    parts = _split_at_commas(text, option)
    if text[:1] + text[-1:] in ("[]", "()") and len(parts) == 1:
        inner = [_parse_value(part, option) for part in _split_at_commas(text[1:-1], option)]
        return tuple(inner) if text[0] == "(" else inner
    if len(parts) > 1:
        return [_parse_value(part, option) for part in parts]
    return _parse_scalar(text)


def _parse_scalar(text: str) -> int | float | bool | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _split_at_commas(text: str, option: str) -> list[str]:
    """Split at the commas that stand outside brackets; a trailing comma, as in `(1,)`, adds nothing."""
    parts, start, depth = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "[(") - (char in "])")
        if depth < 0:
            break
        if char == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    if depth != 0:
        raise ConfigError(f"--cfg-options: the brackets of {option!r} do not match")
    tail = text[start:].strip()
    return parts + [tail] if tail else parts
