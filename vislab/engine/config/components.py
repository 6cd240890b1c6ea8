"""Check one component of a config, `dict(type=..., ...)`, and everything nested in it, without building anything.

A class may say more about its arguments than its signature can:

    path_arguments: ClassVar[tuple[str, ...]]   names of arguments that hold paths (str, or list or dict of str)
    check_arguments(cls, **arguments) -> None   classmethod; raises VislabError for what only the class can judge

Relative paths are joined to the component's `data_root`, as mmengine's datasets do. `data_root`, `ann_file` and
`data_prefix` of a dataset and `checkpoint` of an `init_cfg` are paths without being named.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine import registry as root
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import Registry

from vislab import registry as ours
from vislab.engine.config.signatures import Arguments, arguments_of, wrong_kind
from vislab.errors import VislabError, did_you_mean, nearest
from vislab.io.paths import DATA_VARIABLE

# Which registry a nested component's name is looked up in, by the name of the argument that contains it.
NESTED = {
    "dataset": ours.DATASETS,
    "datasets": ours.DATASETS,
    "pipeline": ours.TRANSFORMS,
    "transforms": ours.TRANSFORMS,
    "transform": ours.TRANSFORMS,
    "metrics": ours.METRICS,
    "vis_backends": ours.VISBACKENDS,
    "init_cfg": root.WEIGHT_INITIALIZERS,
    "data_preprocessor": ours.MODELS,
}
# Arguments that the Runner gives itself when it builds a component of this registry.
GIVEN = {
    "data sampler": {"dataset", "seed", "sampler", "batch_size"},
    "optimizer": {"params"},
    "optim_wrapper": {"optimizer"},
    "optimizer wrapper constructor": {"optim_wrapper_cfg"},
    "parameter scheduler": {"optimizer", "epoch_length", "param_name"},
    "loop": {"runner", "dataloader", "evaluator"},
    "vis_backend": {"save_dir"},
    "visualizer": {"name", "save_dir"},
    "model_wrapper": {"module"},
}
# Keys that mmengine takes out of the dict before it builds a component of this registry.
EXTRA = {"hook": {"priority"}, "parameter scheduler": {"convert_to_iter_based"}, "weight initializer": {"override"}}
PATHS = {"dataset": ("data_root", "ann_file", "data_prefix"), "weight initializer": ("checkpoint",)}
AT_LEAST = {
    **dict.fromkeys(("max_epochs", "max_iters", "val_interval", "batch_size", "accumulative_counts", "window_size"), 1),
    **dict.fromkeys(("num_workers", "lr", "weight_decay", "val_begin", "max_norm", "base_batch_size", "eps"), 0),
}


@dataclass
class Problem:
    """One mistake: the place as a dotted key, the value there in short, and what is wrong and valid."""

    place: str
    value: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}{' = ' if self.value else ''}{self.value}\n      {self.text}"


def problem(place: str, value: Any, text: str) -> Problem:
    if value is _ABSENT:
        return Problem(place, "", text)
    shown = getattr(value, "__name__", None) or repr(value)
    return Problem(place, shown if len(shown) <= 70 else shown[:67] + "...", text)


_ABSENT = object()


def missing(place: str, text: str) -> Problem:
    return problem(place, _ABSENT, text)


def check_component(
    node: Any, place: str, registry: Registry, *, files: bool, default: Any = None, required: bool = True
) -> Iterator[Problem]:
    """All problems of a component and of those nested in it.

    Args:
        node: the dict with `type`, plain (no lazy objects).
        registry: where a name given as text is looked up.
        files: also check that the paths exist.
        default: the type that is built when none is given; None when there must be one.
        required: report required arguments that are missing. Parts nested in a model get some from their owner.
    """
    if not isinstance(node, dict):
        yield problem(place, node, f"expected a dict with `type`, got {type(node).__name__}")
        return
    kind = node.get("type", default)
    if kind is None:
        hint = did_you_mean("type", node) if node else ""
        yield missing(place, f"has no `type`: the name of a {registry.name}{hint}")
        return
    target = resolve(kind, registry)
    if target is None:
        yield problem(f"{place}.type", kind, f"there is no {registry.name} of this name{_suggest_type(kind, registry)}")
        return
    if not callable(target):
        yield problem(f"{place}.type", kind, "is not a class or function")
        return
    arguments = _arguments(target, node, registry)
    given = {k: v for k, v in node.items() if k not in ("type", "_scope_")}
    extra = EXTRA.get(registry.name, set())
    mistakes = list(check_arguments(given, place, arguments, name_of(target), extra=extra))
    if required:
        for name in sorted(arguments.required - set(given) - GIVEN.get(registry.name, set())):
            if not (inspect.isclass(target) and issubclass(target, type)):
                near = nearest(name, set(given) - set(arguments.parameters))
                hint = f" (`{near[0]}` is given)" if near else ""
                mistakes.append(missing(f"{place}.{name}", f"{name_of(target)} needs this argument{hint}"))
    yield from mistakes
    for key, value in given.items():
        yield from check_nested(value, f"{place}.{key}", NESTED.get(key, registry), files=files)
    if files:
        yield from _check_paths(target, given, place, registry, judge=not mistakes)


def check_arguments(
    given: dict[str, Any],
    place: str,
    arguments: Arguments,
    owner: str,
    *,
    extra: set[str] | frozenset[str] = frozenset(),
) -> Iterator[Problem]:
    """Names that `owner` does not take, and values of a kind that it obviously cannot use."""
    for name, value in given.items():
        where = f"{place}.{name}" if place else name
        if name not in arguments.parameters:
            if not arguments.open and name not in extra:
                names = sorted({*arguments.parameters, *extra})
                hint = did_you_mean(str(name), names) or "."
                takes = ", ".join(names) or "nothing"
                yield problem(where, value, f"{owner} takes no argument {name!r}{hint} It takes: {takes}")
            continue
        if _is_component(value):
            continue
        low = AT_LEAST.get(name)
        expected = None
        if name in arguments.kinds:
            expected = wrong_kind(value, arguments.kinds[name], arguments.parameters[name].default)
        if expected:
            yield problem(
                where, value, f"{owner} expects {expected}, got {_kind(value)}{_choice_hint(value, expected)}"
            )
        elif low is not None and isinstance(value, (int, float)) and value < low:
            yield problem(where, value, f"must be at least {low}")


def check_nested(value: Any, place: str, registry: Registry, *, files: bool) -> Iterator[Problem]:
    """Components inside an argument: itself, in a list, or in a plain dict, at any depth."""
    if isinstance(value, dict):
        if "type" in value and (callable(value["type"]) or _known(value["type"], registry)):
            found = registry_of(value["type"], registry)
            yield from check_component(value, place, found, files=files, required=found.name != "model")
        elif isinstance(value.get("type"), str) and registry.name in ("transform", "dataset", "metric", "vis_backend"):
            yield from check_component(value, place, registry, files=files)
        elif isinstance(value.get("type"), str) and registry.name in ("model", "weight initializer"):
            name = value["type"]
            yield problem(
                f"{place}.type", name, f"there is no {registry.name} of this name{_suggest_type(name, registry)}"
            )
        else:
            for key, item in value.items():
                yield from check_nested(item, f"{place}.{key}", NESTED.get(key, registry), files=files)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from check_nested(item, f"{place}.{i}", registry, files=files)


def check_keys(section: Any, place: str, names: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(section, dict):
        yield problem(place, section, f"expected a dict with {', '.join(names)}; got {type(section).__name__}")
        return
    for key, value in section.items():
        if key not in names:
            hint = did_you_mean(str(key), names) or "."
            yield problem(f"{place}.{key}", value, f"{place} has no {key!r}{hint} It takes: {', '.join(names)}")


def only(section: Any, names: dict[str, Any]) -> dict[str, Any]:
    return {k: section[k] for k in names if isinstance(section, dict) and k in section}


def described(kinds: dict[str, Any]) -> Arguments:
    """Arguments described by name and kind alone, for sections that no class reads."""
    parameters = {n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in kinds}
    return Arguments(parameters, kinds)


def resolve(kind: Any, registry: Registry) -> Any:
    """The class or function that `type` names: itself, a registered name, or a dotted path; None when there is none."""
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except RuntimeError:  # how Registry.get says that it found nothing
        return None


def registry_of(kind: Any, likely: Registry) -> Registry:
    """The registry that a component belongs to: `likely` if it is there, else the first that contains it."""
    holders = [likely, *_ours()]
    if isinstance(kind, str):
        return next((r for r in holders if _registered(kind, r)), likely)
    return next((r for r in holders if kind in _members(r)), likely)


def accepted_arguments(node: dict) -> set[str]:
    """Names that the component in `node` takes; for a dict without a known type, none."""
    for registry in _ours():
        target = resolve(node.get("type"), registry)
        if callable(target):
            return set(_arguments(target, node, registry).parameters) | EXTRA.get(registry.name, set())
    return set()


def name_of(target: Any) -> str:
    return getattr(target, "__name__", None) or getattr(getattr(target, "func", None), "__name__", str(target))


def _arguments(target: Callable, node: dict, registry: Registry) -> Arguments:
    is_hook = inspect.isclass(target) and issubclass(target, Hook)
    arguments = arguments_of(target, strict=is_hook)
    if is_hook and issubclass(target, EMAHook):  # its **kwargs are the arguments of the averaged model
        model = resolve(node.get("ema_type", "ExponentialMovingAverage"), ours.MODELS)
        more = arguments_of(model) if callable(model) else Arguments()
        parameters = {k: v for k, v in more.parameters.items() if k != "model"}
        kinds = {**more.kinds, **arguments.kinds}
        return Arguments({**parameters, **arguments.parameters}, kinds, arguments.required, arguments.open)
    if not inspect.isclass(target) and registry.name == "function":  # called with a batch or a worker's number first
        first = next(iter(arguments.parameters), "")
        return Arguments(arguments.parameters, arguments.kinds, arguments.required - {first}, arguments.open)
    return arguments


def _check_paths(
    target: Any, given: dict[str, Any], place: str, registry: Registry, *, judge: bool
) -> Iterator[Problem]:
    """Paths that do not exist, and, where `judge` says that its arguments are known and of the right kinds, what the
    class itself says of them."""
    named = getattr(target, "path_arguments", ())
    names = dict.fromkeys([*PATHS.get(registry.name, ()), *named])
    folder = given.get("data_root") or ""
    ok = judge
    for name in names:
        value = given.get(name)
        base = "" if name in ("data_root", "checkpoint") else folder
        items = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, (list, tuple))
            else [("", value)]
        )
        for key, path in items:
            if isinstance(path, str) and path:
                for found in check_path(path, f"{place}.{name}" + (f".{key}" if key != "" else ""), base):
                    ok = False
                    if not (base and not _exists(base)):  # one message when the whole folder is missing
                        yield found
    pretrained = given.get("pretrained")
    if isinstance(pretrained, str) and (os.sep in pretrained or Path(pretrained).suffix in _WEIGHTS):
        yield from check_path(pretrained, f"{place}.pretrained")
    if ok and hasattr(target, "check_arguments"):
        try:
            target.check_arguments(**given)
        except (VislabError, TypeError, ValueError) as error:
            text = str(error)
            about = next((k for k in given if f"{k}={given[k]!r}" in text), None)
            about = about or next(
                (k for k, v in given.items() if isinstance(v, str) and v and _expand(v) in text), None
            )
            yield problem(f"{place}.{about}", given[about], text) if about else missing(place, text)


_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def check_path(path: str, place: str, folder: str = "") -> Iterator[Problem]:
    """One problem when `path` (in `folder`, unless absolute) does not exist; addresses of the web are left alone."""
    if "://" in path:
        return
    full = _expand(os.path.join(folder, path))
    if "$" in full:
        name = full.split("$", 1)[1].split("/", 1)[0].strip("{}")
        text = f"the environment variable {name} is not set: export {name}=/path/to/folder"
        if name == DATA_VARIABLE:
            text += "; `python tools/prepare_data.py` makes the small sets of the configs for CPUs in such a folder"
        yield problem(place, path, text)
    elif not os.path.exists(full):
        parent = Path(full).parent
        there = [p.name for p in parent.iterdir()] if parent.is_dir() else []
        hint = did_you_mean(Path(full).name, there)
        if not parent.is_dir():
            while not parent.is_dir() and parent != parent.parent:
                parent = parent.parent
            hint = f"; the nearest folder that exists is {parent}"
        yield problem(place, path, f"there is no such file or folder: {full}{hint}")


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


def _exists(path: str) -> bool:
    return "$" not in _expand(path) and os.path.exists(_expand(path))


def _is_component(value: Any) -> bool:
    return (isinstance(value, dict) and "type" in value) or (
        isinstance(value, (list, tuple)) and any(isinstance(v, dict) and "type" in v for v in value)
    )


def _kind(value: Any) -> str:
    return f"the text {value!r}" if isinstance(value, str) else f"{value!r} ({type(value).__name__})"


def _choice_hint(value: Any, expected: str) -> str:
    choices = [part.strip("' ") for part in expected.removeprefix("one of ").split(",")] if "one of" in expected else []
    return did_you_mean(value, choices) if isinstance(value, str) else ""


@functools.cache
def _ours() -> tuple[Registry, ...]:
    found = {r.name: r for r in vars(root).values() if isinstance(r, Registry)}
    found |= {r.name: r for r in vars(ours).values() if isinstance(r, Registry)}
    return tuple(found.values())


def _members(registry: Registry) -> list[Any]:
    members = list(registry.module_dict.values())
    return members + (_members(registry.parent) if registry.parent else [])


def _names(registry: Registry) -> list[str]:
    registry.import_from_location()
    return [*registry.module_dict, *(_names(registry.parent) if registry.parent else [])]


def _registered(name: str, registry: Registry) -> bool:
    return name in _names(registry) or (name.split(".")[-1] in _names(registry) and resolve(name, registry) is not None)


def _known(kind: Any, likely: Registry) -> bool:
    return isinstance(kind, str) and (
        any(_registered(kind, r) for r in [likely, *_ours()]) or ("." in kind and resolve(kind, likely) is not None)
    )


def _suggest_type(kind: Any, registry: Registry) -> str:
    return did_you_mean(str(kind).split(".")[-1], _names(registry))
