"""Arguments of components, from their signatures, and values that match their annotations and bounds.

`**kwargs` hides typing mistakes: mmengine's CheckpointHook, for example, accepts `intervall=3` and fails at the first
save. Therefore `**kwargs` are traced: an `__init__` that passes them to `super().__init__` also accepts the arguments
of its parents, an `__init__` that only stores them accepts no others, and an `__init__` that passes them to another
function accepts any name.

Values are validated by pydantic if the annotation is simple. `Annotated[int, Field(ge=1)]` adds bounds, and
`Annotated[dict, Decoder]` declares a plain dict with the arguments of `Decoder`.
"""

import ast
import enum
import functools
import inspect
import operator
import os
import re
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
from pydantic import AfterValidator, BaseModel, InstanceOf, Strict, TypeAdapter, ValidationError

from vislab.errors import did_you_mean

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_EMPTY = inspect.Parameter.empty
_KINDS = {"collect_device": Literal["cpu", "gpu"]}  # by name, where annotations say less

# -------------------------------------------------------------------------------------------- arguments of signatures


@dataclass
class Arguments:
    """Keyword arguments by name, with evaluated annotations. `open`: any other name is accepted too."""

    parameters: dict[str, inspect.Parameter] = field(default_factory=dict)
    open: bool = False

    @functools.cached_property
    def kinds(self) -> dict[str, Any]:
        """The known annotations."""
        return {n: p.annotation for n, p in self.parameters.items() if p.annotation is not Any}

    @functools.cached_property
    def required(self) -> set[str]:
        return {n for n, p in self.parameters.items() if p.default is _EMPTY}

    def but(self, *, passed: Collection[str] = (), more: Collection[str] = ()) -> "Arguments":
        """Return the arguments if those in `passed` are passed by the caller, and those in `more` are accepted too."""
        optional = {name: inspect.Parameter(name, _KEYWORD[1], default=None, annotation=Any) for name in more}
        optional |= {n: self.parameters[n].replace(default=None) for n in self.required.intersection(passed)}
        return Arguments(self.parameters | optional, self.open)


@functools.cache
def arguments_of(target: Callable, strict: bool = False) -> Arguments:
    """Return the arguments of a class or function; `strict` (for hooks): `**kwargs` are passed to parents only."""
    if isinstance(target, functools.partial):
        whole = arguments_of(target.func, strict)
        others = dict(list(whole.parameters.items())[len(target.args) :])
        return Arguments(others, whole.open).but(passed=target.keywords)
    if not inspect.isclass(target) or issubclass(target, BaseModel):
        return _of_function(target)
    found, filled, skip = Arguments(), set(), 0  # skip: leading parameters that a subclass passes by position
    for init in (cls.__dict__["__init__"] for cls in target.__mro__ if "__init__" in cls.__dict__):
        if init is object.__init__:
            break
        own = _of_function(init, drop=1)
        filled |= set(list(own.parameters)[:skip])  # passed by a subclass: neither required nor accepted
        found.parameters |= {name: p for name, p in own.parameters.items() if name not in filled}
        filled |= set(own.parameters)
        if not own.open:
            break
        calls = _calls_with_kwargs(init)
        parent = next((call for call in calls or () if getattr(call.func, "attr", "") == "__init__"), None)
        if parent is None and (calls == [] or not strict):
            found.open = calls != []  # else only stored
            break
        skip = 0
        if parent is not None:
            by_super = getattr(getattr(parent.func.value, "func", None), "id", "") == "super"
            skip = sum(not isinstance(a, ast.Starred) for a in parent.args) - (not by_super)
            filled |= {keyword.arg for keyword in parent.keywords}
    return found


def _of_function(function: Callable, drop: int = 0) -> Arguments:
    try:
        parameters = list(inspect.signature(function).parameters.values())[drop:]
    except (ValueError, TypeError):  # built-in, implemented in C
        return Arguments(open=True)
    names = getattr(inspect.unwrap(function), "__globals__", None)
    named = {p.name: p.replace(annotation=_annotation_of(p, names)) for p in parameters if p.kind in _KEYWORD}
    return Arguments(named, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters))


def _annotation_of(parameter: inspect.Parameter, names: dict[str, Any] | None) -> Any:
    """Return the annotation, evaluated with the global `names`; Any if it is not known."""
    name, kind, default = parameter.name, parameter.annotation, parameter.default
    if name in _KINDS:
        return _KINDS[name]
    with suppress(Exception):  # a name may be imported for type checkers only, and a list as annotation has no hash
        if kind is not _EMPTY:
            annotated = types.SimpleNamespace(__annotations__={name: kind})
            hash(hint := typing.get_type_hints(annotated, names, include_extras=True)[name])
            return hint
    return _FLAG if isinstance(default, bool) else _NUMBER if isinstance(default, (int, float)) else Any


def _calls_with_kwargs(init: Callable) -> list[ast.Call] | None:
    """Return the calls in an `__init__` that use its `**kwargs`: as arguments, or as in `kwargs.pop(...)`.

    Returns None if the source is unknown.
    """
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init)))).body[0]
        kwargs = function.args.kwarg.arg
    except (OSError, TypeError, SyntaxError, AttributeError):
        return None
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    starred = lambda call: [keyword.value for keyword in call.keywords if keyword.arg is None]
    used = lambda call: [getattr(call.func, "value", None), *call.args, *starred(call)]
    return [call for call in calls if any(getattr(node, "id", "") == kwargs for node in used(call))]


# ------------------------------------------------------------------------------------------------ values, by annotation


def _none_of(*kinds: type) -> Any:
    """Return an annotation of everything but instances of `kinds`."""

    def check(value: Any) -> Any:
        assert not isinstance(value, kinds)
        return value

    return Annotated[Any, AfterValidator(check)]


@dataclass(frozen=True)
class Kind:
    """Meaning of an annotation."""

    words: str  # in a message
    judged: Any = Any  # the annotation as passed to pydantic; Any where a value cannot be validated
    whole: Callable | None = None  # class whose arguments a plain dict contains
    each: Callable | None = None  # the same for each value of a dict


_NUMBER = _none_of(str, bytes, dict, type)  # of an argument without annotation that has a number as default
_FLAG = _none_of(str, bytes, dict, type, list, tuple)
_OBJECT = _none_of(str, bytes, bool, int, float, list, tuple)  # can be built from a dict
_TEXT = Annotated[str, Strict()]
_PLAIN = {
    bool: Kind("bool", Annotated[bool, Strict()] | Literal[0, 1]), int: Kind("int", Annotated[int, Strict()]),
    float: Kind("float", Annotated[float, Strict()]), str: Kind("str", _TEXT), type(None): Kind("None", None),
    torch.Tensor: Kind("Tensor", InstanceOf[torch.Tensor]), _NUMBER: Kind("a number", _NUMBER),
    _FLAG: Kind("bool", _FLAG),
}  # fmt: skip
_ABSTRACT = (Sequence, Collection, Iterable)
_CONTAINERS = {kind: kind for kind in (dict, list, tuple, set, frozenset)} | dict.fromkeys(_ABSTRACT, list)
_CONTAINERS[Mapping] = dict


def kind_of(annotation: Any) -> Kind:
    """Return the meaning of an annotation."""
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin is Literal:
        return Kind(("one of " if len(args) > 1 else "") + ", ".join(map(repr, args)), annotation)
    if origin is Annotated:
        kind = kind_of(args[0])
        bounds = [m for m in args[1:] if not callable(m) and kind.judged is not Any]
        judged = Annotated[(kind.judged, *bounds)] if bounds else kind.judged
        return replace(kind, judged=judged, whole=next(filter(callable, args[1:]), None))
    if origin in (Union, types.UnionType):
        kinds = [kind_of(arg) for arg in args if arg is not torch.Tensor]
        judged = [kind.judged for kind in kinds]
        if dict in judged:  # other types are built from the dict
            judged = [_OBJECT if one is Any else one for one in judged]
        words = " or ".join(dict.fromkeys(kind.words for kind in kinds))
        part = next((kind for kind in kinds if kind.whole or kind.each), kinds[0])
        return replace(part, words=words, judged=functools.reduce(operator.or_, judged))
    words = str(annotation).replace("typing.", "")
    if inspect.isclass(origin) and not args:
        words = origin.__name__
        if issubclass(origin, BaseModel):
            return Kind(f"a dict of {', '.join(origin.model_fields)}", dict, whole=origin)
        if issubclass(origin, (os.PathLike, enum.Enum)):
            return Kind(words, _TEXT | InstanceOf[origin])
    if origin not in _CONTAINERS:
        return Kind(words)
    parts = [Kind("", ...) if arg is ... else kind_of(arg) for arg in args]
    judged = _CONTAINERS[origin][tuple(part.judged for part in parts)] if parts else _CONTAINERS[origin]
    if origin in _ABSTRACT and (str in args or not args):  # a text is a sequence too
        judged |= _TEXT
    if origin in (Sequence, list) and parts:
        words = f"a list of {parts[0].words}"
    each = parts[1].whole if origin in (dict, Mapping) and parts else None
    return Kind(words, judged | dict if origin is Iterable else judged, each=each)


@functools.lru_cache(maxsize=4096)
def _adapter(annotation: Any) -> TypeAdapter:
    return TypeAdapter(kind_of(annotation).judged)


def is_component(value: Any) -> bool:
    """Return whether a value is the config of a component or contains such configs in a list."""
    return any(isinstance(v, dict) and "type" in v for v in (value if isinstance(value, (list, tuple)) else [value]))


def wrong_kind(value: Any, kind: Any, default: Any = _EMPTY) -> str | None:
    """Return what was expected and given if `value` does not match the annotation `kind`; None if it does.

    An int is accepted as a float, a list as a tuple, and the default is always valid. Types that pydantic cannot
    validate without building them (modules, callables) are not checked.
    """
    if type(value) is type(default) and value == default:
        return None
    judged = type(value)() if is_component(value) else value  # nested components are checked separately
    if get_origin(kind) is Sequence and isinstance(default, (list, tuple)):  # where a text is a sequence of str
        kind = list[get_args(kind)]
    try:
        _adapter(kind).validate_python(judged)
    except ValidationError as error:
        errors = error.errors()
    else:
        return None
    bounds = [e["msg"].removeprefix("Input should be ") for e in errors if e["type"].startswith(("greater", "less"))]
    expected = f"a value {bounds[0]}" if bounds else kind_of(kind).words
    got = f"the text {value!r}" if isinstance(value, str) else f"{value!r} ({type(value).__name__})"
    choices = [(e["input"], e["ctx"]["expected"]) for e in errors if e["type"] == "literal_error"]
    hints = [did_you_mean(v, re.findall(r"'([^']+)'", known)) for v, known in choices if isinstance(v, str)]
    return f"expects {expected}, got {got}{next(filter(None, hints), '')}"


# ---------------------------------------------------------------------------------------------------- values, by name

_LAYERS = "num_layers num_blocks depth depths num_workers"
_SHARES = """
prob flip dropout drop_rate drop_path drop_path_rate label_smoothing score_threshold overlap_threshold
importance_sample_ratio cat_max_ratio min_visibility
"""
_FROM_0 = """
lr max_norm weight_decay val_begin save_begin begin begin_epoch begin_iter eps momentum gamma eta_min power padding
mixup_alpha cutmix_alpha lr_mult decay_mult num_classes patience max_depth min_depth brightness_delta hue_delta
num_objects
"""
_FROM_1 = """
max_epochs max_iters val_interval batch_size accumulative_counts window_size times T_max step_size total_steps
prefetch_factor stride strides width embed_dim num_heads size_divisor num_points num_queries length short
topk tries short_edge_length short_edge_lengths in_channels max_detections max_instances
"""
# of arguments that are common to many classes of mmengine, torch and vislab
_BOUNDS = {
    name: bounds
    for names, bounds in ((_LAYERS, (0, 1000)), (_SHARES, (0, 1)), (_FROM_0, (0, inf)), (_FROM_1, (1, inf)))
    for name in names.split()
}


def out_of_bounds(name: str, value: Any) -> str | None:
    """Return the bound that a value violates, for arguments with a known name."""
    if isinstance(value, dict) and name.endswith("_mult"):  # by parts of the model
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        numbers = [v for v in value if isinstance(v, (int, float))]
        if name.endswith("_range") and len(value) == len(numbers) == 2 and numbers[0] > numbers[1]:
            return f"is not a range: {numbers[0]} is larger than {numbers[1]}"
        return next((text for text in (out_of_bounds(name, v) for v in value) if text), None)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    if value != value:
        return "is not a number"
    if name == "interval" and (value == 0 or value < -1):
        return "must be at least 1 (-1: never)"
    if name == "max_norm" and value == 0:
        return "is 0: nothing would be trained"
    low, high = _BOUNDS.get(name, (-inf, inf))
    if value < low:
        return f"must be at least {low}"
    return f"must be at most {high}" if value > high else None
