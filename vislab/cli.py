"""What every command-line tool shares: error reporting and `--cfg-options`. Imports nothing heavy: `--help` is instant.

A tool is a `parse_args()` and a `main(args)`; heavy imports stand inside `main`::

    if __name__ == "__main__":
        args = parse_args()
        run(lambda: main(args))
"""

import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from vislab.errors import ConfigError, VislabError


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and leave the process: status 0 or what it returns; 2 after a VislabError, 130 after Ctrl-C.

    A VislabError is something the user can mend, so it is printed as one message without a traceback; set
    VISLAB_TRACEBACK=1 to see the traceback too. Any other exception is a bug and keeps its traceback.
    """
    try:
        status = main()
        sys.stdout.flush()
    except VislabError as error:
        if os.environ.get("VISLAB_TRACEBACK"):
            raise
        print(f"error: {error_message(error)}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # `tool | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status or 0)


def error_message(error: BaseException) -> str:
    """The text of an error. Data-loader workers wrap theirs in a traceback: only the message they raised is kept."""
    text = str(error)
    if "Original Traceback" in text:
        text = re.split(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", text, flags=re.MULTILINE)[-1]
    return text.strip()


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
