"""Merge the names of the bases of a config, and raise an error if one base reverts a change of another.

Each base is executed with its own copy of its bases. If two bases share a base, the second one contains its unchanged
copy, so that changes of the first one would be silently lost.
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
    """Return the names that `source` gets from its bases; a later base replaces names of an earlier one.

    Args:
        source: Config that reads the bases.
        taken: Each base with the names read from it, in order.
        executed: Names of every executed base, by path.
        keys: Names that always have an effect; other names are considered only if `source` reads them.

    Raises:
        ConfigError: If a later base replaces the value of such a name without being based on it, and `source` does
                not set the name itself.
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
    """Return whether the earlier base has the same value as a base shared by both, so that no change is lost."""
    return any(
        name in executed[path] and not _difference(executed[path][name], value, name)
        for path in _paths(earlier.file) & _paths(later.file)
    )


def _paths(file: ConfigFile) -> set[Path]:
    return {part.path.resolve() for part in (file, *file.all_bases())}


def _set_anew(source: ConfigFile, name: str) -> bool:
    """Return whether the first statement with this name assigns it, so that the values of bases are not used."""
    for node in source.body:
        mentions = [part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name]
        if mentions:
            return isinstance(node, ast.Assign) and all(isinstance(part.ctx, ast.Store) for part in mentions)
    return False


def _difference(first: Any, second: Any, place: str) -> str:
    """Return the first place where two values differ, with both values; empty if they are equal."""
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
    """Return a value as text; for a lazy import, its full name."""
    return f"{value.module}.{value}" if isinstance(value, (LazyObject, LazyAttr)) else repr(value)


def _message(source: ConfigFile, first: Base, second: Base, changes: list[str]) -> str:
    files = {part.path.resolve(): part for part in (second.file, *second.file.all_bases())}
    shared = [files[path] for path in _paths(first.file) & set(files)]
    nearest = max(shared, key=lambda part: len(list(part.all_bases())), default=second.file)
    why = f", which has its own copy of {relative(nearest.path)}" if nearest is not second.file else ""
    return (
        f"{source.at(second.line)}: what {relative(first.file.path)} (line {first.line}) sets is undone by "
        f"{relative(second.file.path)}{why}: {'; '.join(changes[:4])}{' ...' if len(changes) > 4 else ''}. Let one of "
        f"the two build on the other, or read from one of them only the names that you want, as in "
        "`import train_dataloader, val_dataloader` in place of `*`, or set the name in this file"
    )
