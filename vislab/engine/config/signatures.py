"""Which arguments a component takes, without building it: names, which are required, what kind of value each wants.

`**kwargs` hides typing mistakes: mmengine's CheckpointHook, for one, swallows `intervall=3` and dies at the first save.
So `**kwargs` are followed to where they go: an `__init__` that hands them to `super().__init__` adds its parents'
arguments, one that keeps them adds nothing, and only one that hands them to another function takes any name.
"""

import ast
import enum
import functools
import inspect
import os
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass
class Arguments:
    """What can be given by keyword. `open`: any other name is taken too. `kinds`: the annotations that are known."""

    parameters: dict[str, inspect.Parameter] = field(default_factory=dict)
    kinds: dict[str, Any] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    open: bool = False


@functools.cache
def arguments_of(target: Callable, strict: bool = False) -> Arguments:
    """The arguments of a class or function; `strict` (for hooks): `**kwargs` never go anywhere but to parents."""
    if isinstance(target, functools.partial):
        arguments = arguments_of(target.func, strict)
        bound = set(target.keywords) | set(list(arguments.parameters)[: len(target.args)])
        return Arguments(arguments.parameters, arguments.kinds, arguments.required - bound, arguments.open)
    if not inspect.isclass(target):
        return _of_function(target)
    arguments = Arguments()
    filled: set[str] = set()  # given by a subclass itself: neither required nor free
    skip = 0  # leading parameters that a subclass gives by position
    for cls in target.__mro__:
        init = cls.__dict__.get("__init__")
        if init is None:
            continue
        if cls is object:
            return arguments
        own = _of_function(init, drop_self=True)
        names = list(own.parameters)
        filled |= set(names[:skip])
        for name in names:
            if name not in filled and name not in arguments.parameters:
                arguments.parameters[name] = own.parameters[name]
                if name in own.kinds:
                    arguments.kinds[name] = own.kinds[name]
                if name in own.required:
                    arguments.required.add(name)
        filled |= set(names)
        if not own.open:
            return arguments
        use = _use_of_kwargs(init)
        if use is None:  # handed to something else, or unknown
            arguments.open = not strict
            if not strict:
                return arguments
            skip = 0
            continue
        if not use.forwarded:
            return arguments
        filled |= use.keywords
        skip = use.positional
    return arguments


def _of_function(function: Callable, drop_self: bool = False) -> Arguments:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # built in, written in C
        return Arguments(open=True)
    if drop_self:
        parameters = parameters[1:]
    named = {p.name: p for p in parameters if p.kind in _KEYWORD}
    kinds = {}
    try:
        hints = typing.get_type_hints(inspect.unwrap(function))
    except Exception:  # one annotation that cannot be evaluated spoils them all: take those that can
        hints = {n: _evaluate(p.annotation, function) for n, p in named.items()}
    for name, parameter in named.items():
        if hints.get(name, inspect.Parameter.empty) is not inspect.Parameter.empty:
            kinds[name] = hints[name]
        elif isinstance(parameter.default, (bool, int, float)):
            kinds[name] = type(parameter.default) | _NotText
    required = {n for n, p in named.items() if p.default is inspect.Parameter.empty}
    return Arguments(named, kinds, required, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters))


def _evaluate(annotation: Any, function: Callable) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(inspect.unwrap(function), "__globals__", {}))
    except Exception:
        return inspect.Parameter.empty


@dataclass
class _Use:
    forwarded: bool
    positional: int = 0
    keywords: set[str] = field(default_factory=set)


def _use_of_kwargs(init: Callable) -> _Use | None:
    """How an `__init__` uses its `**kwargs`: handed to the parents, kept (swallowed), or None for anything else."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init))))
    except (OSError, TypeError, SyntaxError):
        return None
    function = tree.body[0]
    name = function.args.kwarg.arg if isinstance(function, ast.FunctionDef) and function.args.kwarg else None
    if name is None:
        return None
    elsewhere = False
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        stars = [k for k in node.keywords if k.arg is None and isinstance(k.value, ast.Name) and k.value.id == name]
        if stars and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
            positional = [a for a in node.args if not isinstance(a, ast.Starred)]
            explicit = not (
                isinstance(node.func.value, ast.Call) and getattr(node.func.value.func, "id", "") == "super"
            )
            return _Use(True, len(positional) - explicit, {k.arg for k in node.keywords if k.arg})
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", None) == name:
            elsewhere = True  # kwargs.pop("old_name"), kwargs.get(...)
        elsewhere = elsewhere or bool(stars)
        elsewhere = elsewhere or any(isinstance(a, ast.Name) and a.id == name for a in node.args)
    return None if elsewhere else _Use(False)


class _NotText:
    """Stands for "anything but text": what an unannotated argument with a number as default may be given."""


def wrong_kind(value: Any, kind: Any, default: Any = inspect.Parameter.empty) -> str | None:
    """What `kind` (an annotation) expects, in words, when `value` obviously is not it; None when it is or may be.

    Only simple annotations are judged: int, float, bool, str, None, Literal, enums, torch.Tensor (never in a config),
    the containers list, tuple and dict, and unions of them. An int is a float; None is fine where it is the default.
    """
    if value is None and default in (None, inspect.Parameter.empty):
        choices = _choices(kind)
        if default is None or None in choices or type(None) in choices or not _simple(choices):
            return None
        return _in_words(choices)
    if default is not inspect.Parameter.empty and type(value) is type(default) and value == default:
        return None
    choices = _choices(kind)
    if _NotText in choices:
        return _in_words(choices) if isinstance(value, str) else None
    if not _simple(choices) or any(_fits(value, choice) for choice in choices):
        return None
    return _in_words(choices)


def _choices(kind: Any) -> list[Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return [c for arg in get_args(kind) for c in _choices(arg)]
    if origin is typing.Annotated:
        return _choices(get_args(kind)[0])
    if origin is Literal:
        return [_Value(v) for v in get_args(kind)]
    return [type(None) if kind is None else kind]


@dataclass(frozen=True)
class _Value:
    """One value of a Literal."""

    value: Any


_CONTAINERS = {
    list: (list, tuple),
    tuple: (list, tuple),
    dict: (dict,),
    set: (set, list, tuple),
    typing.get_origin(typing.Sequence[int]): (list, tuple, str),
    typing.get_origin(typing.Iterable[int]): (list, tuple, str, dict),
    typing.get_origin(typing.Mapping[str, int]): (dict,),
}


def _simple(choices: list[Any]) -> bool:
    return all(
        isinstance(c, _Value)
        or c in (int, float, bool, str, type(None), _NotText)
        or (inspect.isclass(c) and issubclass(c, (os.PathLike, enum.Enum)))
        or (get_origin(c) or c) in _CONTAINERS
        or _is_tensor(c)
        for c in choices
    )


def _is_tensor(kind: Any) -> bool:
    return getattr(kind, "__module__", None) == "torch" and getattr(kind, "__name__", None) == "Tensor"


def _fits(value: Any, choice: Any) -> bool:
    if isinstance(choice, _Value):
        return type(value) is type(choice.value) and value == choice.value
    if choice is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if choice is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if choice is bool:
        return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
    if inspect.isclass(choice) and issubclass(choice, (os.PathLike, enum.Enum)):
        return isinstance(value, (str, choice))
    if _is_tensor(choice):
        return False
    origin = get_origin(choice) or choice
    if origin in _CONTAINERS:
        return isinstance(value, _CONTAINERS[origin]) and not (isinstance(value, str) and str not in get_args(choice))
    return isinstance(value, choice)


def _in_words(choices: list[Any]) -> str:
    values = [repr(c.value) for c in choices if isinstance(c, _Value)]
    kinds = [
        "None" if c is type(None) else "a number" if c is _NotText else _name(c)
        for c in choices
        if not isinstance(c, _Value)
    ]
    if "a number" in kinds:
        kinds = [k for k in kinds if k != "a number"]
    words = (["one of " + ", ".join(values)] if len(values) > 1 else values) + kinds
    return " or ".join(dict.fromkeys(words))


def _name(kind: Any) -> str:
    return kind.__name__ if inspect.isclass(kind) and get_origin(kind) is None else str(kind).replace("typing.", "")
