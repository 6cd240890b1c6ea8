"""Check one component of a config, `dict(type=..., ...)`, and all components nested in it.

Names and types of arguments are checked against the signature. Components that are cheap to build are then built, and
an exception of a constructor is reported at the place of the component. A class can declare more about its arguments:

    path_arguments: ClassVar[tuple[str, ...]]   names of arguments that are paths (str, or list or dict of str)
    check_arguments(cls, **arguments) -> None   classmethod; raises VislabError for invalid arguments
"""

import functools
import inspect
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

from mmengine import registry as root
from mmengine.dataset import BaseDataset
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
from vislab.engine.config.problems import ABSENT, Problem, path_problems, problem
from vislab.engine.config.schema import Arguments, arguments_of, nearest_choice, out_of_bounds, parts_of, wrong_kind
from vislab.errors import did_you_mean, nearest
from vislab.io.paths import expand

# Registry in which the name of a nested component is looked up, by the name of the argument that contains it.
NESTED = {
    "dataset": ours.DATASETS, "datasets": ours.DATASETS, "train_dataset": ours.DATASETS, "test_dataset": ours.DATASETS,
    "pipeline": ours.TRANSFORMS, "transforms": ours.TRANSFORMS,
    "transform": ours.TRANSFORMS, "metrics": ours.METRICS, "vis_backends": ours.VISBACKENDS,
    "init_cfg": root.WEIGHT_INITIALIZERS, "data_preprocessor": ours.MODELS,
}  # fmt: skip
# Arguments that the Runner passes when it builds a component of this registry.
GIVEN = {
    "data sampler": {"dataset", "seed", "sampler", "batch_size"}, "optimizer": {"params"},
    "optim_wrapper": {"optimizer"}, "optimizer wrapper constructor": {"optim_wrapper_cfg"},
    "parameter scheduler": {"optimizer", "epoch_length", "param_name"}, "loop": {"runner", "dataloader", "evaluator"},
    "vis_backend": {"save_dir"}, "visualizer": {"name", "save_dir"}, "model_wrapper": {"module"},
}  # fmt: skip
# Keys that mmengine removes from the dict before it builds a component of this registry.
EXTRA = {"hook": {"priority"}, "parameter scheduler": {"convert_to_iter_based"}, "weight initializer": {"override"}}
_CLOSED = ("transform", "dataset", "metric", "vis_backend", "model", "weight initializer")  # `type` is a component
_BASES = {  # base class of the components of a registry
    "hook": Hook, "data sampler": Sampler, "optimizer": Optimizer, "parameter scheduler": _ParamScheduler,
    "metric": BaseMetric, "loop": BaseLoop, "optim_wrapper": OptimWrapper, "model": nn.Module, "transform": Callable,
    "visualizer": Visualizer, "vis_backend": BaseVisBackend, "log_processor": LogProcessor, "dataset": Sized,
}  # fmt: skip


class NeedsRun(Exception):
    """Raised by a stand-in when a component needs something that exists only in a run: the component is not checked."""


class Walk:
    """Traverses a config and collects its problems.

    Args:
        files: Whether to check that paths exist.
        build: Whether to build components that are cheap to build.

    Attributes:
        found: Problems found so far.
        places: Place of each class in the config.
    """

    def __init__(self, *, files: bool = True, build: bool = True) -> None:
        self.files, self.build = files, build
        self.found: list[Problem] = []
        self.places: dict[Any, str] = {}

    @contextmanager
    def checking_files(self, check: bool) -> Iterator[None]:
        """Check whether paths exist only if `check` is set too."""
        before, self.files = self.files, self.files and check
        try:
            yield
        finally:
            self.files = before

    def add(self, place: str, text: str, value: Any = ABSENT) -> None:
        if any(found.place == place and found.text == text for found in self.found):
            return
        self.found.append(problem(place, text, value))

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
        """Check a component and the components nested in it.

        Args:
            node: Plain dict with `type`, without lazy objects.
            place: Dotted key of the component.
            registry: Registry in which a type name is looked up.
            registry: Where a name given as text is looked up.
            default: Type used if `node` has none; None if a type is required.
            required: Whether to report missing required arguments. Modules nested in a model get some from the model.
            build: How it is built from class and arguments; components of BUILT need nothing.

        Returns:
            The built component; None if it has problems or is not built here.
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
            self.found += path_problems(target, given, place, registry.name)
        if mistakes or len(self.found) > before:
            return None
        if self.files and hasattr(target, "check_arguments"):
            self.attempt(lambda: target.check_arguments(**given), place, given)
            if len(self.found) > before:
                return None
        if build is None and inspect.isclass(target):
            build = BUILT.get(registry.name)
        if build is not None and self.build:
            return self.attempt(lambda: build(target, own), place, given, name_of(target))
        return None

    def arguments(
        self, given: dict, place: str, arguments: Arguments, owner: str, *, extra: set[str] | frozenset = frozenset()
    ) -> None:
        """Report arguments that `owner` does not accept and values of a wrong type or out of range."""
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
            judged = type(value)() if _is_component(value) else value  # nested components are checked separately
            expected = wrong_kind(judged, kind, arguments.parameters[name].default)
            if expected:
                got = f"the text {value!r}" if isinstance(value, str) else f"{value!r} ({type(value).__name__})"
                self.add(where, f"{owner} expects {expected}, got {got}{nearest_choice(value, kind)}", value)
            elif not self.bounds(name, value, where) and isinstance(value, dict):
                self._parts(value, where, kind)

    def bounds(self, name: str, value: Any, place: str) -> str | None:
        """Report and return the bound that a value violates, by the name of its argument."""
        text = out_of_bounds(name, value)
        if text:
            self.add(place, text, value)
        return text

    def _parts(self, value: dict, place: str, kind: Any) -> None:
        """Check plain dicts whose keys are the arguments of a class."""
        whole, each = parts_of(kind)
        for part, given, where in [(whole, value, place), *((each, v, f"{place}.{k}") for k, v in value.items())]:
            if part is not None and isinstance(given, dict) and "type" not in given:
                self.places[part] = where
                self.arguments(given, where, arguments_of(part), name_of(part))
                if issubclass(part, BaseModel):  # a section of the config; modules get some arguments from their model
                    self.needed(given, where, arguments_of(part), where, set())

    def needed(self, given: dict, place: str, arguments: Arguments, owner: str, others: set[str]) -> None:
        """Report required arguments that are neither given nor in `others`."""
        for name in sorted(arguments.required - set(given) - others):
            near = nearest(name, set(given) - set(arguments.parameters))
            self.add(f"{place}.{name}", f"{owner} needs this argument" + (f" (`{near[0]}` is given)" if near else ""))

    def nested(self, value: Any, place: str, registry: Registry) -> None:
        """Check the components in an argument: the argument itself, or elements of lists and dicts at any depth."""
        key = place.rpartition(".")[2]
        if isinstance(value, (list, tuple)):
            if key == "datasets" and not value:
                self.add(place, "is empty", value)
            if key == "pipeline":
                self._order(value, place)
            for i, item in enumerate(value):
                if key in ("pipeline", "vis_backends", "datasets") and not (isinstance(item, dict) and "type" in item):
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
                    name = place.rpartition(".")[2] if place.endswith("_mult") else str(key)
                    if not any(found.place == f"{place}.{key}" for found in self.found):
                        self.bounds(name, item, f"{place}.{key}")

    def _order(self, pipeline: Any, place: str) -> None:
        """Check the order of this package's transforms by `pipeline_stage`: LoadImage 0, others 1, PackInputs 2, last;
        transforms without a stage may be anywhere before the last."""
        kinds = [resolve(step.get("type"), ours.TRANSFORMS) if isinstance(step, dict) else None for step in pipeline]
        known = [getattr(kind, "__module__", "").startswith("vislab.") for kind in kinds]
        stages = [getattr(kind, "pipeline_stage", 1) if own else None for kind, own in zip(kinds, known, strict=True)]
        steps = [(i, stage) for i, stage in enumerate(stages) if stage is not None]
        for i, stage in steps:
            early = [k for k, other in steps if k > i and other < stage] or [i + 1] * (
                stage == 2 and i + 1 < len(kinds)
            )
            if early:
                text = f"comes before {name_of(kinds[early[0]])}, which must come first"
                return self.add(f"{place}.{i}", text, kinds[i])
        if stages and all(known) and 2 not in stages:
            self.add(place, "makes no batch: the last transform must be PackInputs")
        return None

    def attempt(self, build: Callable[[], Any], place: str, given: dict, owner: str = "") -> Any:
        """Return the result of `build`; report an exception at `place`, or at the argument that its message names."""
        try:
            with _quiet():
                return build()
        except NeedsRun:
            return None
        except Exception as error:  # constructors raise many types for invalid arguments
            zeros = [k for k, v in given.items() if type(v) in (int, float) and v == 0]
            if isinstance(error, ZeroDivisionError) and len(zeros) == 1:
                return self.add(f"{place}.{zeros[0]}", f"{owner} divides by it: it must not be 0", 0)
            text = message_of(error)
            about = _about(text, given)
            text = text if owner in text else f"{owner}: {text}"
            self.add(f"{place}.{about}" if about else place, text, given[about] if about else ABSENT)
            return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and log lines, which the run emits again."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def message_of(error: Exception) -> str:
    """Return the message of an exception, with its type if the text alone is not clear."""
    text = str(error).strip()
    if isinstance(error, AssertionError) and not text:
        text = traceback.extract_tb(error.__traceback__)[-1].line or ""
    plain = isinstance(error, (ValueError, RuntimeError)) or type(error).__module__.startswith("vislab")
    return text if text and plain else f"{type(error).__name__}: {text}"


def _about(text: str, given: dict) -> str | None:
    """Return the argument that an error message is about: named with its value, named, or only its value quoted."""
    values = {k: expand(v) if isinstance(v, str) else repr(v) for k, v in given.items()}
    named = [k for k in given if re.search(rf"(?<![\w.]){re.escape(str(k))}(?!\w)", text)]
    quoted = [k for k, v in values.items() if len(v) > 1 and v in text]
    both = [k for k in named if values[k] in text]
    return next(iter(both or named or (quoted if len(quoted) == 1 else [])), None)


def resolve(kind: Any, registry: Registry) -> Any:
    """Return the class or function for `type`: itself, a registered name or a dotted path; None if there is none."""
    if not isinstance(kind, str):
        return kind
    try:
        return registry.get(kind)
    except Exception:  # Registry.get raises RuntimeError if it finds nothing
        return None


def accepted_arguments(node: dict) -> set[str]:
    """Return the argument names that the component in `node` accepts; none for a dict without a known type."""
    for registry in _registries():
        target = resolve(node.get("type"), registry)
        if callable(target):
            return set(_arguments(target, node, registry).parameters) | EXTRA.get(registry.name, set())
    return set()


def name_of(target: Any) -> str:
    return getattr(target, "__name__", None) or getattr(getattr(target, "func", None), "__name__", str(target))


def _call(target: Callable, given: dict) -> Any:
    return target(**given)


def _unread(target: Callable, given: dict) -> Any:
    """Build a dataset without reading its annotations, for classes with lazy initialization."""
    if not issubclass(target, BaseDataset) or "lazy_init" not in arguments_of(target).parameters:
        raise NeedsRun
    root = {"data_root": ""} if "data_root" in given else {}  # paths are checked separately
    return target(**{**given, **root, "pipeline": [], "lazy_init": True})


# Components that are built from their arguments only
BUILT = {"hook": _call, "transform": _call, "metric": _call, "log_processor": _call, "dataset": _unread}


def _arguments(target: Callable, node: dict, registry: Registry) -> Arguments:
    is_hook = inspect.isclass(target) and issubclass(target, Hook)
    own = arguments_of(target, strict=is_hook)
    if is_hook and issubclass(target, EMAHook):  # **kwargs are the arguments of the averaged model
        model = resolve(node.get("ema_type", "ExponentialMovingAverage"), ours.MODELS)
        more = arguments_of(model) if callable(model) else Arguments()
        parameters = {k: v for k, v in more.parameters.items() if k not in ("model", "device")}
        return Arguments({**parameters, **own.parameters}, {**more.kinds, **own.kinds}, own.required, own.open)
    if not inspect.isclass(target) and registry.name == "function":  # called with a batch first
        return Arguments(own.parameters, own.kinds, own.required - {next(iter(own.parameters), "")}, own.open)
    return own


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
    """Return the registry of a component: `likely` if it contains the component, else the first that does."""
    if not isinstance(kind, str):
        holds = (r for r in (likely, *_registries()) if any(kind in part.module_dict.values() for part in _chain(r)))
        return next(holds, likely)
    found = (r for r in (likely, *_registries()) if kind.split(".")[-1] in _names(r) and resolve(kind, r) is not None)
    return next(found, likely if "." in kind and resolve(kind, likely) is not None else None)
