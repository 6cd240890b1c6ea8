"""Put the names of a config's bases together, and refuse when one base takes back what another has changed.

Bases are run one by one, each with its own copy of the bases below it. Where two bring the same base, the second brings
its untouched copy, too: all that the first has changed in it would be gone without a word.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject

from vislab.engine.config.source import Base, ConfigFile, relative
from vislab.errors import ConfigError


def merge_bases(
    source: ConfigFile,
    taken: list[tuple[Base, dict[str, Any]]],
    executed: dict[Path, dict[str, Any]],
    keys: frozenset[str],
) -> dict[str, Any]:
    """The names that the bases of `source` give it; a later base replaces the names of an earlier one.

    Args:
        source: the config that reads the bases.
        taken: each base with the names that are read from it, in order.
        executed: the names of every base that has been run, by path.
        keys: names that have an effect by themselves; others count only where `source` reads them.

    Raises:
        ConfigError: a name with an effect has a value in an earlier base that the replacing base neither has nor builds
            on, and `source` does not set it anew.
    """
    namespace: dict[str, Any] = {}
    givers: dict[str, Base] = {}
    lost: list[tuple[Base, Base, str]] = []
    for base, names in taken:
        for name, value in names.items():
            earlier = givers.get(name)
            if earlier is not None and (name in keys or name in source.reads) and not _set_anew(source, name):
                change = _difference(namespace[name], value, name)
                if change and not _untouched(name, namespace[name], earlier, base, executed):
                    lost.append((earlier, base, change))
            namespace[name], givers[name] = value, base
    if lost:
        first, second, _ = lost[0]
        changes = [change for one, other, change in lost if one is first and other is second]
        raise ConfigError(_message(source, first, second, changes))
    return namespace


def _untouched(name: str, value: Any, earlier: Base, later: Base, executed: dict[Path, dict[str, Any]]) -> bool:
    """Whether the earlier base has the name as it stands in a base of both: then nothing of its own is lost."""
    return any(
        name in executed[path] and not _difference(executed[path][name], value, name)
        for path in _paths(earlier.file) & _paths(later.file)
    )


def _paths(file: ConfigFile) -> set[Path]:
    return {part.path.resolve() for part in (file, *file.all_bases())}


def _set_anew(source: ConfigFile, name: str) -> bool:
    """Whether the first statement with this name assigns it, so that no base's value matters."""
    for node in source.body:
        mentions = [part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name]
        if mentions:
            return isinstance(node, ast.Assign) and all(isinstance(part.ctx, ast.Store) for part in mentions)
    return False


def _difference(first: Any, second: Any, place: str) -> str:
    """The first place where two values differ, with both; empty when they are equal."""
    return next(_differences(first, second, place), "")


def _differences(first: Any, second: Any, place: str) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        both = [*dict.keys(first), *(key for key in dict.keys(second) if not dict.__contains__(first, key))]
        for key in both:
            yield from _differences(dict.get(first, key), dict.get(second, key), f"{place}.{key}")
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            yield from _differences(a, b, f"{place}.{i}")
    elif _text(first) != _text(second):
        yield f"{place} = {_text(first)[:60]} becomes {_text(second)[:60]}"


def _text(value: Any) -> str:
    """A value as text; of an imported object, which is not imported yet, its full name."""
    return f"{value.module}.{value}" if isinstance(value, (LazyObject, LazyAttr)) else repr(value)


def _message(source: ConfigFile, first: Base, second: Base, changes: list[str]) -> str:
    files = {part.path.resolve(): part for part in (second.file, *second.file.all_bases())}
    shared = [files[path] for path in _paths(first.file) & set(files)]
    nearest = max(shared, key=lambda part: len(list(part.all_bases())), default=second.file)
    why = f", which brings its own copy of {relative(nearest.path)}" if nearest is not second.file else ""
    return (
        f"{source.at(second.line)}: what {relative(first.file.path)} (line {first.line}) sets is undone by "
        f"{relative(second.file.path)}{why}: {'; '.join(changes[:4])}{' ...' if len(changes) > 4 else ''}. Let one of "
        f"the two build on the other, or read from one of them only the names that you want, as in "
        "`import train_dataloader, val_dataloader` in place of `*`, or set the name anew in this file"
    )
