"""Problems reported by the config check, from exceptions too, and the check that paths exist.

Relative paths are joined to the `data_root` of the component, as in mmengine's datasets. `data_root`, `ann_file` and
`data_prefix` of a dataset and `checkpoint` of an `init_cfg` are always checked; other classes declare their paths in
`path_arguments`.
"""

import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vislab.cli import command
from vislab.errors import did_you_mean
from vislab.io.paths import DATA_VARIABLE, expand
from vislab.models.encoders.initial_weights import are_loaded

ABSENT = object()  # there is no value at the place
_PATHS = {"dataset": ("data_root", "ann_file", "data_prefix"), "weight initializer": ("checkpoint",)}
_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


@dataclass
class Problem:
    """One mistake: its place as a dotted key, the abbreviated value, and a description with the valid values."""

    place: str
    value: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}{' = ' if self.value else ''}{self.value}\n      {self.text}"


def problem(place: str, text: str, value: Any = ABSENT) -> Problem:
    """Return a Problem with an abbreviated value."""
    shown = "" if value is ABSENT else getattr(value, "__name__", None) or repr(value)
    return Problem(place, shown if len(shown) <= 70 else shown[:67] + "...", text)


def problem_of(error: Exception, place: str, given: dict, owner: str = "") -> Problem:
    """Return an exception as a Problem at `place`, or at the argument of `given` that its message is about."""
    zeros = [k for k, v in given.items() if type(v) in (int, float) and v == 0]
    if isinstance(error, ZeroDivisionError) and len(zeros) == 1:
        return problem(f"{place}.{zeros[0]}", f"{owner} divides by it: it must not be 0", 0)
    text = str(error).strip()
    if isinstance(error, AssertionError) and not text:
        text = traceback.extract_tb(error.__traceback__)[-1].line or ""
    if not text or not (isinstance(error, (ValueError, RuntimeError)) or type(error).__module__.startswith("vislab")):
        text = f"{type(error).__name__}: {text}"
    about = _about(text, given)
    text = text if owner in text else f"{owner}: {text}"
    return problem(place, text) if about is None else problem(f"{place}.{about}", text, given[about])


def _about(text: str, given: dict) -> str | None:
    """Return the argument that an error message is about: named with its value, named, or only its value quoted."""
    values = {k: expand(v) if isinstance(v, str) else repr(v) for k, v in given.items()}
    named = [k for k in given if re.search(rf"(?<![\w.]){re.escape(str(k))}(?!\w)", text)]
    quoted = [k for k, v in values.items() if len(v) > 1 and v in text]
    both = [k for k in named if values[k] in text]
    return next(iter(both or named or (quoted if len(quoted) == 1 else [])), None)


def path_problems(target: Any, given: dict, place: str, registry: str) -> Iterator[Problem]:
    """Yield a problem for each path in the arguments of a component that does not exist."""
    folder, unused = str(given.get("data_root") or ""), _initial_weights(target, registry)
    for name in dict.fromkeys([*_PATHS.get(registry, ()), *getattr(target, "path_arguments", ())]):
        if name in unused:
            continue
        value, base = given.get(name), "" if name in ("data_root", "checkpoint") else folder
        if base and not os.path.exists(expand(base)):  # one message if the whole folder is missing
            continue
        parts = enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]
        for key, path in value.items() if isinstance(value, dict) else parts:
            yield from path_problem(path, f"{place}.{name}" + (f".{key}" if key != "" else ""), base)
    pretrained = None if "pretrained" in unused else given.get("pretrained")
    if isinstance(pretrained, str) and (os.sep in pretrained or Path(pretrained).suffix in _WEIGHTS):
        yield from path_problem(pretrained, f"{place}.pretrained")


def _initial_weights(target: Any, registry: str) -> tuple[str, ...]:
    """Return the arguments with files of weights that a checkpoint will replace."""
    if are_loaded():
        return ()
    return ("checkpoint",) if registry == "weight initializer" else getattr(target, "initial_weights", ())


def path_problem(path: Any, place: str, folder: str = "") -> Iterator[Problem]:
    """Yield a problem if `path` (relative to `folder`) does not exist; URLs are not checked."""
    if not isinstance(path, str) or not path or "://" in path:
        return
    full = expand(os.path.join(folder, path))
    if "$" in full:
        name = full.split("$", 1)[1].split("/", 1)[0].strip("{}")
        text = f"the environment variable {name} is not set: export {name}=/path/to/folder"
        if name == DATA_VARIABLE:
            text += f"; `{command('prepare-data')}` makes the small sets of the configs for CPUs in such a folder"
        yield problem(place, text, path)
    elif place.endswith("ann_file") and os.path.isdir(full):
        yield problem(place, f"is a folder, not a file: {full}", path)
    elif not os.path.exists(full):
        folders = [parent for parent in Path(full).parents if parent.is_dir()]
        hint = f"; the nearest folder that exists is {folders[0]}"
        if folders[0] == Path(full).parent:
            hint = did_you_mean(Path(full).name, os.listdir(folders[0]))
        yield problem(place, f"there is no such file or folder: {full}{hint}", path)
