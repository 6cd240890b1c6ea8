"""Checks one component of a config, `dict(type=..., ...)`, and everything nested in it.

Names and kinds of arguments are read off the signature; what is cheap is then built, and whatever its constructor
raises is a problem at its place. A class may say more about its arguments than its signature can:

    path_arguments: ClassVar[tuple[str, ...]]   names of arguments that hold paths (str, or list or dict of str)
    check_arguments(cls, **arguments) -> None   classmethod; raises VislabError for what only the class can judge

Relative paths are joined to the component's `data_root`, as mmengine's datasets do. `data_root`, `ann_file` and
`data_prefix` of a dataset and `checkpoint` of an `init_cfg` are paths without being named.
"""

import functools
import inspect
import logging
import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine import registry as root
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.registry import Registry
from mmengine.runner import BaseLoop, LogProcessor
from mmengine.visualization import BaseVisBackend, Visualizer
from pydantic import BaseModel
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Sampler

from vislab import registry as ours
from vislab.engine.config.schema import Arguments, arguments_of, nearest_choice, out_of_bounds, parts_of, wrong_kind
from vislab.errors import did_you_mean, nearest
from vislab.io.paths import DATA_VARIABLE

# Which registry a nested component's name is looked up in, by the name of the argument that holds it.
NESTED = {
    "dataset": ours.DATASETS, "datasets": ours.DATASETS, "pipeline": ours.TRANSFORMS, "transforms": ours.TRANSFORMS,
    "transform": ours.TRANSFORMS, "metrics": ours.METRICS, "vis_backends": ours.VISBACKENDS,
    "init_cfg": root.WEIGHT_INITIALIZERS, "data_preprocessor": ours.MODELS,
}  # fmt: skip
# Arguments that the Runner gives itself when it builds a component of this registry.
GIVEN = {
    "data sampler": {"dataset", "seed", "sampler", "batch_size"}, "optimizer": {"params"},
    "optim_wrapper": {"optimizer"}, "optimizer wrapper constructor": {"optim_wrapper_cfg"},
    "parameter scheduler": {"optimizer", "epoch_length", "param_name"}, "loop": {"runner", "dataloader", "evaluator"},
    "vis_backend": {"save_dir"}, "visualizer": {"name", "save_dir"}, "model_wrapper": {"module"},
}  # fmt: skip
# Keys that mmengine takes out of the dict before it builds a component of this registry.
EXTRA = {"hook": {"priority"}, "parameter scheduler": {"convert_to_iter_based"}, "weight initializer": {"override"}}
PATHS = {"dataset": ("data_root", "ann_file", "data_prefix"), "weight initializer": ("checkpoint",)}
BUILT = ("hook", "transform", "metric", "log_processor")  # built from their arguments alone
_CLOSED = ("transform", "dataset", "metric", "vis_backend", "model", "weight initializer")  # a `type` is a component's
_BASES = {  # what a component of a registry is
    "hook": Hook, "data sampler": Sampler, "optimizer": Optimizer, "parameter scheduler": _ParamScheduler,
    "metric": BaseMetric, "loop": BaseLoop, "optim_wrapper": OptimWrapper, "model": nn.Module, "transform": Callable,
    "visualizer": Visualizer, "vis_backend": BaseVisBackend, "log_processor": LogProcessor, "dataset": Sized,
}  # fmt: skip
_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_ABSENT = object()


@dataclass
class Problem:
    """One mistake: the place as a dotted key, the value there in short, and what is wrong and valid."""

    place: str
    value: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}{' = ' if self.value else ''}{self.value}\n      {self.text}"


class NeedsRun(Exception):
    """A stand-in was asked for something that only the run has: nothing can be said about the component."""


class Walk:
    """Goes through a config and collects its problems.

    Args:
        files: Also check that the paths exist.
        build: Build what is cheap.

    Attributes:
        found: The problems so far.
        places: Where each class is named or given arguments.
    """

    def __init__(self, *, files: bool = True, build: bool = True) -> None:
        self.files, self.build = files, build
        self.found: list[Problem] = []
        self.places: dict[Any, str] = {}

    def add(self, place: str, text: str, value: Any = _ABSENT) -> None:
        shown = "" if value is _ABSENT else getattr(value, "__name__", None) or repr(value)
        self.found.append(Problem(place, shown if len(shown) <= 70 else shown[:67] + "...", text))

    def is_dict(self, value: Any, place: str, example: str) -> bool:
        if not isinstance(value, dict):
            self.add(place, f"expected a dict, {example}; got {type(value).__name__}", value)
        return isinstance(value, dict)

    def component(
        self,
        node: Any,
        place: str,
        registry: Registry,
        *,
        default: Any = None,
        required: bool = True,
        build: Callable[[Callable, dict], Any] | None = None,
    ) -> Any:
        """Check a component and those nested in it.

        Args:
            node: The dict with `type`, plain (no lazy objects).
            place: Its dotted key.
            registry: Where a name given as text is looked up.
            default: The type that is built when none is given; None when there must be one.
            required: Report required arguments that are missing. Parts nested in a model get some from their owner.
            build: How it is built from class and arguments; components of BUILT need none.

        Returns:
            What was built; None when it has problems or is not built here.
        """
        before = len(self.found)
        if not self.is_dict(node, place, "as in dict(type=...)"):
            return None
        kind = node.get("type", default)
        if kind is None:
            hint = did_you_mean("type", node) if node else ""
            return self.add(place, f"has no `type`: the name of a {registry.name}{hint}")
        target = resolve(kind, registry)
        if target is None:
            hint = did_you_mean(str(kind).split(".")[-1], _names(registry))
            return self.add(f"{place}.type", f"there is no {registry.name} of this name{hint}", kind)
        base = _BASES.get(registry.name, object)
        if not callable(target) or (inspect.isclass(target) and not issubclass(target, base)):
            return self.add(f"{place}.type", f"is no {registry.name}", kind)
        self.places[target] = place
        given = {k: v for k, v in node.items() if k not in ("type", "_scope_")}
        own = {k: v for k, v in given.items() if k not in EXTRA.get(registry.name, ())}
        arguments = _arguments(target, node, registry)
        self.arguments(given, place, arguments, name_of(target), extra=EXTRA.get(registry.name, set()))
        if required and not (inspect.isclass(target) and issubclass(target, type)):
            self.needed(given, place, arguments, name_of(target), GIVEN.get(registry.name, set()))
        mistakes = len(self.found) > before
        for key, value in given.items():
            if key in arguments.parameters or arguments.open:
                self.nested(value, f"{place}.{key}", NESTED.get(key, registry))
        if self.files:
            self._paths(target, given, place, registry)
        if mistakes or len(self.found) > before:
            return None
        if self.files and hasattr(target, "check_arguments"):
            self.attempt(lambda: target.check_arguments(**given), place, given)
        if build is None and registry.name in BUILT and inspect.isclass(target):
            build = _call
        if build is not None and self.build:
            return self.attempt(lambda: build(target, own), place, given, name_of(target))
        return None

    def arguments(
        self, given: dict, place: str, arguments: Arguments, owner: str, *, extra: set[str] | frozenset = frozenset()
    ) -> None:
        """Names that `owner` does not take, and values of a kind or size that it cannot use."""
        for name, value in given.items():
            where = f"{place}.{name}" if place else name
            if name not in arguments.parameters:
                if not arguments.open and name not in extra:
                    names = sorted({*arguments.parameters, *extra})
                    hint = did_you_mean(str(name), names) or "."
                    takes = ", ".join(names) or "nothing"
                    self.add(where, f"{owner} takes no argument {name!r}{hint} It takes: {takes}", value)
                continue
            kind = arguments.kinds.get(name, Any)
            judged = type(value)() if _is_component(value) else value  # its contents are checked as components
            expected = wrong_kind(judged, kind, arguments.parameters[name].default)
            if expected:
                got = f"the text {value!r}" if isinstance(value, str) else f"{value!r} ({type(value).__name__})"
                self.add(where, f"{owner} expects {expected}, got {got}{nearest_choice(value, kind)}", value)
            elif text := out_of_bounds(name, value):
                self.add(where, text, value)
            elif isinstance(value, dict):
                self._parts(value, where, kind)

    def _parts(self, value: dict, place: str, kind: Any) -> None:
        """Plain dicts whose keys are the arguments of a class."""
        whole, each = parts_of(kind)
        for part, given, where in [(whole, value, place), *((each, v, f"{place}.{k}") for k, v in value.items())]:
            if part is not None and isinstance(given, dict):
                self.places[part] = where
                self.arguments(given, where, arguments_of(part), name_of(part))
                if issubclass(part, BaseModel):  # a section; parts of a component get some from their owner
                    self.needed(given, where, arguments_of(part), where, set())

    def needed(self, given: dict, place: str, arguments: Arguments, owner: str, others: set[str]) -> None:
        """Required arguments that are neither given nor among `others`."""
        for name in sorted(arguments.required - set(given) - others):
            near = nearest(name, set(given) - set(arguments.parameters))
            self.add(f"{place}.{name}", f"{owner} needs this argument" + (f" (`{near[0]}` is given)" if near else ""))

    def nested(self, value: Any, place: str, registry: Registry) -> None:
        """Components inside an argument: itself, in a list, or in a plain dict, at any depth."""
        key = place.rpartition(".")[2]
        if isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if key in ("pipeline", "vis_backends") and not (isinstance(item, dict) and "type" in item):
                    self.add(f"{place}.{i}", f"expected a {registry.name}, as in dict(type=...)", item)
                else:
                    self.nested(item, f"{place}.{i}", registry)
        elif (
            isinstance(value, dict)
            and "type" in value
            and not isinstance(value["type"], str)
            and registry.name in _CLOSED
        ):
            self.component(value, place, _holder(value["type"], registry), required=registry.name != "model")
        elif isinstance(value, dict):
            kind = value.get("type")
            known = callable(kind) or (isinstance(kind, str) and _holder(kind, registry) is not None)
            if known or (isinstance(kind, str) and registry.name in _CLOSED):
                holder = _holder(kind, registry) or registry
                self.component(value, place, holder, required=holder.name != "model")
            else:
                for key, item in value.items():
                    self.nested(item, f"{place}.{key}", NESTED.get(key, registry))

    def attempt(self, build: Callable[[], Any], place: str, given: dict, owner: str = "") -> Any:
        """The result of `build`; what it raises is a problem at `place`, or at the argument that the error is about."""
        try:
            with _quiet():
                return build()
        except NeedsRun:
            return None
        except Exception as error:  # whatever a constructor refuses its arguments with
            text = message_of(error)
            about = _about(text, given)
            text = text if owner in text else f"{owner}: {text}"
            self.add(f"{place}.{about}" if about else place, text, given[about] if about else _ABSENT)
            return None

    def _paths(self, target: Any, given: dict, place: str, registry: Registry) -> None:
        folder = str(given.get("data_root") or "")
        for name in dict.fromkeys([*PATHS.get(registry.name, ()), *getattr(target, "path_arguments", ())]):
            value, base = given.get(name), "" if name in ("data_root", "checkpoint") else folder
            if base and not os.path.exists(_expand(base)):  # one message when the whole folder is missing
                continue
            parts = enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]
            for key, path in value.items() if isinstance(value, dict) else parts:
                self.path(path, f"{place}.{name}" + (f".{key}" if key != "" else ""), base)
        pretrained = given.get("pretrained")
        if isinstance(pretrained, str) and (os.sep in pretrained or Path(pretrained).suffix in _WEIGHTS):
            self.path(pretrained, f"{place}.pretrained")

    def path(self, path: Any, place: str, folder: str = "") -> None:
        """A problem when `path` (in `folder`, unless absolute) does not exist; addresses of the web are left alone."""
        if not isinstance(path, str) or not path or "://" in path:
            return
        full = _expand(os.path.join(folder, path))
        if "$" in full:
            name = full.split("$", 1)[1].split("/", 1)[0].strip("{}")
            text = f"the environment variable {name} is not set: export {name}=/path/to/folder"
            if name == DATA_VARIABLE:
                text += "; `python tools/prepare_data.py` makes the small sets of the configs for CPUs in such a folder"
            self.add(place, text, path)
        elif not os.path.exists(full):
            folders = [parent for parent in Path(full).parents if parent.is_dir()]
            hint = f"; the nearest folder that exists is {folders[0]}"
            if folders[0] == Path(full).parent:
                hint = did_you_mean(Path(full).name, os.listdir(folders[0]))
            self.add(place, f"there is no such file or folder: {full}{hint}", path)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines: the run gives them once more."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def message_of(error: Exception) -> str:
    """An exception in words: its text, with the kind where the text alone says little."""
    text = str(error).strip()
    if isinstance(error, AssertionError) and not text:
        text = traceback.extract_tb(error.__traceback__)[-1].line or ""
    plain = isinstance(error, (ValueError, RuntimeError)) or type(error).__module__.startswith("vislab")
    return text if text and plain else f"{type(error).__name__}: {text}"


def _about(text: str, given: dict) -> str | None:
    """The argument that an error is about: named in it with its value, or named, or at least its value quoted."""
    values = {k: _expand(v) if isinstance(v, str) else repr(v) for k, v in given.items()}
    named = [k for k in given if re.search(rf"(?<![\w.]){re.escape(str(k))}(?!\w)", text)]
    quoted = [k for k, v in values.items() if len(v) > 1 and v in text]
    both = [k for k in named if values[k] in text]
    return next(iter(both or named or (quoted if len(quoted) == 1 else [])), None)


def resolve(kind: Any, registry: Registry) -> Any:
    """The class or function that `type` names: itself, a registered name, or a dotted path; None when there is none."""
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except Exception:  # RuntimeError is how Registry.get says that it found nothing
        return None


def accepted_arguments(node: dict) -> set[str]:
    """Names that the component in `node` takes; for a dict without a known type, none."""
    for registry in _registries():
        target = resolve(node.get("type"), registry)
        if callable(target):
            return set(_arguments(target, node, registry).parameters) | EXTRA.get(registry.name, set())
    return set()


def name_of(target: Any) -> str:
    return getattr(target, "__name__", None) or getattr(getattr(target, "func", None), "__name__", str(target))


def _call(target: Callable, given: dict) -> Any:
    return target(**given)


def _arguments(target: Callable, node: dict, registry: Registry) -> Arguments:
    is_hook = inspect.isclass(target) and issubclass(target, Hook)
    own = arguments_of(target, strict=is_hook)
    if is_hook and issubclass(target, EMAHook):  # its **kwargs are the arguments of the averaged model
        model = resolve(node.get("ema_type", "ExponentialMovingAverage"), ours.MODELS)
        more = arguments_of(model) if callable(model) else Arguments()
        parameters = {k: v for k, v in more.parameters.items() if k not in ("model", "device")}
        return Arguments({**parameters, **own.parameters}, {**more.kinds, **own.kinds}, own.required, own.open)
    if not inspect.isclass(target) and registry.name == "function":  # called with a batch or a worker's number first
        return Arguments(own.parameters, own.kinds, own.required - {next(iter(own.parameters), "")}, own.open)
    return own


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


def _is_component(value: Any) -> bool:
    return (isinstance(value, dict) and "type" in value) or (
        isinstance(value, (list, tuple)) and any(isinstance(v, dict) and "type" in v for v in value)
    )


@functools.cache
def _registries() -> tuple[Registry, ...]:
    return tuple(
        {r.name: r for module in (root, ours) for r in vars(module).values() if isinstance(r, Registry)}.values()
    )


def _chain(registry: Registry) -> Iterator[Registry]:
    while registry is not None:
        yield registry
        registry = registry.parent


def _names(registry: Registry) -> list[str]:
    for part in _chain(registry):
        part.import_from_location()
    return [name for part in _chain(registry) for name in part.module_dict]


def _holder(kind: Any, likely: Registry) -> Registry | None:
    """The registry that a component belongs to: `likely` if it is there, else the first that holds it."""
    if not isinstance(kind, str):
        holds = (r for r in (likely, *_registries()) if any(kind in part.module_dict.values() for part in _chain(r)))
        return next(holds, likely)
    found = (r for r in (likely, *_registries()) if kind.split(".")[-1] in _names(r) and resolve(kind, r) is not None)
    return next(found, likely if "." in kind and resolve(kind, likely) is not None else None)
