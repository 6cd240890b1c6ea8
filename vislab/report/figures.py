"""Figures on pages that say how they are checked: marks in Markdown, run in a quick form.

A mark is a comment on the line of the figure, or on the line after:

    <!-- verify: python benchmarks/hnerv_step.py --quick; vislab_160x320 = 0.68 +- 0.15 -->
    <!-- verify: not here; four GPUs -->

The first form has a command, which ends in minutes, and what it printed as `vislab_160x320=...` when the figure was
measured, with the tolerance of a repetition. Python and files are those of the repository. The second form has the
reason why there is no quick command.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from vislab.errors import ConfigError

_MARK = re.compile(r"<!--\s*verify:\s*(.*?)\s*-->", re.DOTALL)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_EXPECTED = re.compile(rf"(?P<key>[\w./@-]+)\s*=\s*(?P<value>{_NUMBER})\s*\+-\s*(?P<tolerance>{_NUMBER})")
_REASON = re.compile(r"not here;\s*(\S.*)", re.DOTALL)


class Figure(NamedTuple):
    """A mark on a page.

    Attributes:
        place: File and line, as `docs/hnerv.md:120`.
        command: Quick command; "" if the figure has none.
        key: Name of the printed value.
        value: What the command printed when the figure was measured.
        tolerance: Largest difference to it.
        reason: Reason why there is no command.
    """

    place: str
    command: str = ""
    key: str = ""
    value: float = 0.0
    tolerance: float = 0.0
    reason: str = ""


class Verdict(NamedTuple):
    """A figure, whether it was kept, and one line about it."""

    figure: Figure
    status: Literal["kept", "moved", "failed", "not here"]
    text: str


def read_figures(paths: Iterable[str | Path]) -> list[Figure]:
    """Return the marks of Markdown files.

    Raises:
        ConfigError: A file does not exist, or a mark has neither form.
    """
    found = []
    for path in map(Path, paths):
        if not path.is_file():
            raise ConfigError(f"there is no page {path}")
        text = path.read_text(encoding="utf-8")
        for mark in _MARK.finditer(text):
            place = f"{path}:{text.count(chr(10), 0, mark.start()) + 1}"
            found.append(_parse(" ".join(mark[1].split()), place))
    return found


def _parse(text: str, place: str) -> Figure:
    if reason := _REASON.fullmatch(text):
        return Figure(place, reason=reason[1])
    command, _, rest = text.rpartition(";")
    expected = _EXPECTED.fullmatch(rest.strip())
    if not command.startswith("python ") or expected is None:
        raise ConfigError(
            f"{place}: cannot read the mark {text!r}; expected `python SCRIPT ...; key = value +- tolerance` or "
            "`not here; reason`"
        )
    value, tolerance = float(expected["value"]), float(expected["tolerance"])
    return Figure(place, command.strip(), expected["key"], value, tolerance)


def verify(figures: Iterable[Figure], root: str | Path, timeout: float) -> Iterator[Verdict]:
    """Run the command of each figure, each command once, and yield verdicts.

    Args:
        figures: See `read_figures`.
        root: Folder in which the commands are run.
        timeout: Seconds that a command may take.
    """
    outputs: dict[str, tuple[str, str]] = {}  # what was printed, and a problem or ""
    for figure in figures:
        if figure.reason:
            yield Verdict(figure, "not here", figure.reason)
            continue
        if figure.command not in outputs:
            outputs[figure.command] = _run(figure.command, Path(root), timeout)
        printed, problem = outputs[figure.command]
        value = last_value(printed, figure.key)
        expected = f"{figure.value:g} +- {figure.tolerance:g}"
        if problem or value is None:
            yield Verdict(figure, "failed", f"{problem or f'prints no {figure.key}'}: {figure.command}")
        else:
            kept = abs(value - figure.value) <= figure.tolerance
            text = f"{figure.key} = {value:g} ({expected}): {figure.command}"
            yield Verdict(figure, "kept" if kept else "moved", text)


def last_value(printed: str, key: str) -> float | None:
    """Return the last number that was printed as `key=number` or `key: number`."""
    found = re.findall(rf"(?<![\w./-]){re.escape(key)}\s*[=:]\s*({_NUMBER})(?![\w.])", printed)
    return float(found[-1]) if found else None


def _run(command: str, root: Path, timeout: float) -> tuple[str, str]:
    words = [sys.executable, *shlex.split(command)[1:]]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return "", f"took more than {timeout:g} s"
    lines = done.stderr.strip().splitlines()
    problem = f"ended with status {done.returncode} ({lines[-1] if lines else 'no message'})" if done.returncode else ""
    return done.stdout + "\n" + done.stderr, problem
