"""Arguments of components, from their signatures, and the schema of sections that are not components.

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
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from vislab.errors import did_you_mean

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_EMPTY = inspect.Parameter.empty
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)
# not for list[int], which inspect takes for a class in Python 3.10
_is_a = lambda kind, base: inspect.isclass(kind) and get_origin(kind) is None and issubclass(kind, base)
# Bounds and choices of arguments that are common to many classes of mmengine, torch and vislab
_FROM_1 = """
max_epochs max_iters val_interval batch_size accumulative_counts window_size times T_max step_size total_steps
prefetch_factor stride strides width embed_dim num_heads size_divisor num_points num_queries length short
topk tries short_edge_length short_edge_lengths in_channels max_detections
max_instances
"""
_FROM_0 = """
lr max_norm weight_decay val_begin save_begin begin begin_epoch begin_iter eps momentum gamma eta_min power padding
mixup_alpha cutmix_alpha lr_mult decay_mult num_classes patience max_depth min_depth brightness_delta hue_delta
num_objects
"""
_FROM_0_TO_1 = """
prob flip dropout drop_rate drop_path drop_path_rate label_smoothing score_threshold overlap_threshold
importance_sample_ratio cat_max_ratio min_visibility
"""
_COUNTS, _SIZES, _SHARES = (frozenset(names.split()) for names in (_FROM_1, _FROM_0, _FROM_0_TO_1))
_LAYERS = ("num_layers", "num_blocks", "depth", "depths", "num_workers")
_CHOICES = {"collect_device": ("cpu", "gpu")}


class MultiProcessing(BaseModel):
    mp_start_method: Literal["fork", "spawn", "forkserver"] = "fork"
    opencv_num_threads: int = 0


class Distribution(BaseModel):
    backend: Literal["nccl", "gloo", "mpi", "cncl", "hccl", "mccl", "smddp"] = "nccl"
    init_backend: Literal["torch", "deepspeed", "smddp", "mpi"] = "torch"
    timeout: Annotated[float, Field(ge=0)] | None = None
    port: Annotated[int, Field(ge=1)] | None = None
    init_method: str | None = None
    world_size: int = -1
    rank: int = -1
    device_id: Any = None


class Environment(BaseModel):
    cudnn_benchmark: bool = False
    mp_cfg: MultiProcessing | None = None
    dist_cfg: Distribution | None = None
    resource_limit: Annotated[int, Field(ge=1)] = 4096


class ScaleLr(BaseModel):
    base_batch_size: Annotated[int, Field(ge=1)]
    enable: bool = False


class Randomness(BaseModel):
    seed: Annotated[int, Field(ge=0)] | None = None
    diff_rank_seed: bool = False
    deterministic: bool = False


class Multipliers(BaseModel):
    lr_mult: Annotated[float, Field(ge=0)] = 1.0
    decay_mult: Annotated[float, Field(ge=0)] = 1.0


class Paramwise(BaseModel):
    """`paramwise_cfg` of mmengine's DefaultOptimWrapperConstructor."""

    bias_lr_mult: float = 1.0
    bias_decay_mult: float = 1.0
    norm_decay_mult: float = 1.0
    flat_decay_mult: float = 1.0
    dwconv_decay_mult: float = 1.0
    dcn_offset_lr_mult: float = 1.0
    bypass_duplicate: bool = False
    custom_keys: dict[str, Multipliers] = {}


class Compile(BaseModel):
    """`compile` of mmengine's Runner: the method to compile, and arguments of torch.compile."""

    target: str = "forward"
    fullgraph: bool = False
    dynamic: bool | None = None
    backend: Any = "inductor"
    mode: str | None = None
    options: dict | None = None
    disable: bool = False


class Settings(BaseModel):
    """Arguments of the Runner that are plain values."""

    launcher: Literal["none", "pytorch", "slurm", "mpi"] = "none"
    log_level: Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"] = "INFO"
    work_dir: str | None = None
    experiment_name: str | None = None
    default_scope: str | None = None
    load_from: str | None = None
    resume: bool | str | None = None
    find_unused_parameters: bool | None = None
    env_cfg: Environment | None = None
    randomness: Randomness | None = None
    auto_scale_lr: ScaleLr | None = None
    sync_bn: Literal["torch", "mmcv"] | None = None
    compile: bool | Compile | None = None
    activation_checkpointing: Sequence[str] | None = None


# -------------------------------------------------------------------------------------------- arguments of signatures


@dataclass
class Arguments:
    """Keyword arguments. `open`: any other name is accepted too. `kinds`: the known annotations."""

    parameters: dict[str, inspect.Parameter] = field(default_factory=dict)
    kinds: dict[str, Any] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    open: bool = False


@functools.cache
def arguments_of(target: Callable, strict: bool = False) -> Arguments:
    """Return the arguments of a class or function; `strict` (for hooks): `**kwargs` are passed to parents only."""
    if isinstance(target, functools.partial):
        whole = arguments_of(target.func, strict)
        bound = set(target.keywords) | set(list(whole.parameters)[: len(target.args)])
        return Arguments(whole.parameters, whole.kinds, whole.required - bound, whole.open)
    if not inspect.isclass(target) or issubclass(target, BaseModel):
        return _of_function(target)
    found, filled, skip = Arguments(), set(), 0  # skip: leading parameters that a subclass passes by position
    for init in (cls.__dict__["__init__"] for cls in target.__mro__ if "__init__" in cls.__dict__):
        if init is object.__init__:
            break
        own = _of_function(init, drop=1)
        filled |= set(list(own.parameters)[:skip])  # passed by a subclass: neither required nor accepted
        new = [name for name in own.parameters if name not in filled and name not in found.parameters]
        found.parameters |= {name: own.parameters[name] for name in new}
        found.kinds |= {name: own.kinds[name] for name in new if name in own.kinds}
        found.required |= own.required & set(new)
        filled |= set(own.parameters)
        if not own.open:
            break
        passed = _passed_to_parents(init)
        if passed is None and not strict:  # passed to another function, or unknown
            found.open = True
            break
        skip, keywords = passed or (0, set())
        if skip is None:  # stored, and passed to no function
            break
        filled |= keywords
    return found


def _of_function(function: Callable, drop: int = 0) -> Arguments:
    try:
        parameters = list(inspect.signature(function).parameters.values())[drop:]
    except (ValueError, TypeError):  # built-in, implemented in C
        return Arguments(open=True)
    named = {p.name: p for p in parameters if p.kind in _KEYWORD}
    try:
        hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception:  # one annotation cannot be evaluated: evaluate each on its own
        hints = {n: _evaluated(p.annotation, function) for n, p in named.items()}
    kinds = {n: hints[n] for n in named if hints.get(n, _EMPTY) is not _EMPTY}
    for name, parameter in named.items():
        if name not in kinds and isinstance(parameter.default, (bool, int, float)):
            kinds[name] = _Flag if isinstance(parameter.default, bool) else _Number
    required = {n for n, p in named.items() if p.default is _EMPTY}
    return Arguments(named, kinds, required, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters))


def _evaluated(annotation: Any, function: Callable) -> Any:
    try:
        names = getattr(inspect.unwrap(function), "__globals__", {})
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except Exception:
        return _EMPTY


def _passed_to_parents(init: Callable) -> tuple[int | None, set[str]] | None:
    """Return what an `__init__` passes to its parents besides `**kwargs`: number of positional arguments, and keywords.

    Returns (None, ...) if `**kwargs` are stored and passed to no function; None if they are passed elsewhere.
    """
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init)))).body[0]
        name = function.args.kwarg.arg
    except (OSError, TypeError, SyntaxError, AttributeError):
        return None
    used = False
    for node in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
        starred = any(k.arg is None and getattr(k.value, "id", "") == name for k in node.keywords)
        if starred and getattr(node.func, "attr", "") == "__init__":
            is_super = getattr(getattr(node.func.value, "func", None), "id", "") == "super"
            positional = [a for a in node.args if not isinstance(a, ast.Starred)]
            return len(positional) - (not is_super), {k.arg for k in node.keywords if k.arg}
        is_method = getattr(getattr(node.func, "value", None), "id", "") == name  # kwargs.pop("old_name")
        used = used or starred or is_method or any(getattr(a, "id", "") == name for a in node.args)
    return None if used else (None, set())


# ------------------------------------------------------------------------------------------------ values, by annotation


def _refuse(*kinds: type) -> AfterValidator:
    def check(value: Any) -> Any:
        if isinstance(value, kinds):
            raise ValueError
        return value

    return AfterValidator(check)


_Number = Annotated[Any, _refuse(str, bytes, dict, type)]  # an argument without annotation with a number as default
_Flag = Annotated[Any, _refuse(str, bytes, dict, type, list, tuple)]
_Object = Annotated[Any, _refuse(str, bytes, bool, int, float, list, tuple)]  # built from a dict


def wrong_kind(value: Any, kind: Any, default: Any = _EMPTY) -> str | None:
    """Return a description of the annotation `kind` if `value` does not match it; None if it matches or is unknown.

    An int is accepted as a float, a list as a tuple, and the default is always valid. Types that pydantic cannot
    validate without building them (modules, callables) are not checked.
    """
    if type(value) is type(default) and value == default:
        return None
    if isinstance(value, str) and isinstance(default, (list, tuple)) and get_origin(kind) is Sequence:
        return in_words(kind)
    adapter = _adapter(kind)
    if adapter is None:
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        if value is None and default is None:
            return None
        for bound, words in _BOUNDS.items():
            if error.error_count() == 1 and bound in (context := error.errors()[0].get("ctx", {})):
                return f"a value {words} {context[bound]}"
        return in_words(kind)
    return None


_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


def out_of_bounds(name: str, value: Any) -> str | None:
    """Return the bound that a value violates, for arguments with a known name."""
    if isinstance(value, dict) and name.endswith("_mult"):  # by parts of the model
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        numbers = [v for v in value if isinstance(v, (int, float))]
        if name.endswith("_range") and len(value) == len(numbers) == 2 and numbers[0] > numbers[1]:
            return f"is not a range: {numbers[0]} is larger than {numbers[1]}"
        return next((text for text in (out_of_bounds(name, v) for v in value) if text), None)
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"expected one of {', '.join(_CHOICES[name])}{did_you_mean(str(value), _CHOICES[name])}"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    if value != value:
        return "is not a number"
    if name == "interval" and (value == 0 or value < -1):
        return "must be at least 1 (-1: never)"
    if name == "max_norm" and value == 0:
        return "is 0: nothing would be trained"
    low = 1 if name in _COUNTS else 0 if name in {*_SIZES, *_LAYERS, *_SHARES} else None
    high = 1 if name in _SHARES else 1000 if name in _LAYERS else None
    if low is not None and value < low:
        return f"must be at least {low}"
    return f"must be at most {high}" if high is not None and value > high else None


def parts_of(kind: Any) -> tuple[Callable | None, Callable | None]:
    """Return the class whose arguments a plain dict contains, and the class for each value of the dict."""
    if _is_a(kind, BaseModel):
        return kind, None
    if get_origin(kind) is Annotated:
        return next((m for m in get_args(kind)[1:] if inspect.isclass(m)), None), None
    if get_origin(kind) is dict:
        return None, parts_of(get_args(kind)[1])[0]
    found = [parts_of(arg) for arg in get_args(kind) if get_origin(kind) in (Union, types.UnionType)]
    return next((pair for pair in found if any(pair)), (None, None))


@functools.lru_cache(maxsize=4096)
def _cached(kind: Any) -> TypeAdapter | None:
    judged = _judged(kind)
    return None if judged is Any else TypeAdapter(judged, config=_STRICT)


def _adapter(kind: Any) -> TypeAdapter | None:
    try:
        return _cached(kind)
    except TypeError:  # the annotation is not hashable
        return _cached.__wrapped__(kind)


def _judged(kind: Any) -> Any:
    """Return the annotation as passed to pydantic; Any where a value cannot be validated."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = _judged(args[0])
        bounds = [m for m in args[1:] if not inspect.isclass(m)]
        return Annotated[(inner, *bounds)] if bounds and (inner is not Any or kind in (_Number, _Flag)) else inner
    if origin in (Union, types.UnionType):
        kinds = [_judged(arg) for arg in args if arg is not torch.Tensor]
        if dict in kinds:  # other types are built from the dict
            kinds = [_Object if kind is Any else kind for kind in kinds]
        return Any if Any in kinds or not kinds else functools.reduce(operator.or_, kinds)
    if origin is Literal or kind in (int, float, str, None, type(None)):
        return kind
    if kind is bool:
        return bool | Literal[0, 1]
    if _is_a(kind, (os.PathLike, enum.Enum)):
        return str | kind
    if kind is torch.Tensor:
        return typing.NoReturn
    if _is_a(kind, BaseModel):
        return dict
    container = origin or kind
    if container in (dict, Mapping, typing.Mapping):
        return dict[_judged(args[0]), _judged(args[1])] if len(args) == 2 else dict
    if container in (tuple, list, set, frozenset, Sequence, Iterable, Collection):
        return _judged_container(container, args)
    return Any


def _judged_container(container: Any, args: tuple) -> Any:
    parts = tuple(a if a is Ellipsis else _judged(a) for a in args)
    if container is tuple and parts:
        return Annotated[tuple[parts], Strict(False)]
    judged = Annotated[list[parts[0] if parts else Any], Strict(False)]
    if container in (Sequence, Iterable, Collection) and (str in args or not args):
        judged = judged | str
    return judged if container is not Iterable else judged | dict


def in_words(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if kind in (_Number, _Flag):
        return "a number" if kind is _Number else "bool"
    if origin is Annotated:
        return in_words(args[0])
    if origin is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(in_words(arg) for arg in args if arg is not torch.Tensor))
    if kind in (None, type(None)):
        return "None"
    if _is_a(kind, BaseModel):
        return f"a dict of {', '.join(kind.model_fields)}"
    if origin in (Sequence, list) and args:
        return f"a list of {in_words(args[0])}"
    return kind.__name__ if inspect.isclass(kind) and not args else str(kind).replace("typing.", "")


def nearest_choice(value: Any, kind: Any) -> str:
    """Return "did you mean ..." for the first string in `value` that is not one of the choices in `kind`."""
    choices = [c for c in _choices(kind) if isinstance(c, str)]
    given = [v for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, str)]
    return next((did_you_mean(v, choices) for v in given if v not in choices), "") if choices else ""


def _choices(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for arg in get_args(kind) for choice in _choices(arg)]
