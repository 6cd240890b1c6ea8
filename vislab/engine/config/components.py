"""Check one component of a config, `dict(type=..., ...)`, and all components nested in it.

Names and types of arguments are checked against the signature. Components that are cheap to build are then built, and
an exception of a constructor is reported at the place of the component. A class can declare more about its arguments:

    path_arguments: ClassVar[tuple[str, ...]]   names of arguments that are paths (str, or list or dict of str)
    check_arguments(cls, **arguments) -> None   classmethod; raises VislabError for invalid arguments
"""

import functools
import inspect
from collections.abc import Callable, Sized
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
from vislab.engine.config.problems import ABSENT, Problem, path_problems, problem, problem_of
from vislab.engine.config.schema import Arguments, arguments_of, kind_of, out_of_bounds, wrong_kind
from vislab.errors import did_you_mean, nearest

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
        unread: Places whose paths are not checked.

    Attributes:
        found: Problems found so far.
        places: Place of each class in the config.
    """

    def __init__(self, *, files: bool = True, build: bool = True, unread: tuple[str, ...] = ()) -> None:
        self.files, self.build, self.unread = files, build, unread
        self.found: list[Problem] = []
        self.places: dict[Any, str] = {}

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
            names = [name for part in _chain(registry) for name in part.module_dict]
            hint = did_you_mean(str(kind).split(".")[-1], names)
            return self.add(f"{place}.type", f"there is no {registry.name} of this name{hint}", kind)
        base = _BASES.get(registry.name, object)
        if not callable(target) or (inspect.isclass(target) and not issubclass(target, base)):
            return self.add(f"{place}.type", f"is no {registry.name}", kind)
        self.places[target] = place
        given = {k: v for k, v in node.items() if k not in ("type", "_scope_")}
        own = {k: v for k, v in given.items() if k not in EXTRA.get(registry.name, ())}
        arguments = _arguments(target, node, registry)
        self.arguments(given, place, arguments, name_of(target), required=required)
        for key, value in own.items():
            if key in arguments.parameters or arguments.open:
                self.nested(value, f"{place}.{key}", NESTED.get(key, registry))
        if self.files and not place.startswith(self.unread):
            self.found += path_problems(target, given, place, registry.name)
            if len(self.found) == before and hasattr(target, "check_arguments"):
                self.attempt(lambda: target.check_arguments(**given), place, given)
        if build is None and inspect.isclass(target):
            build = BUILT.get(registry.name)
        if build is None or not self.build or len(self.found) > before:
            return None
        return self.attempt(lambda: build(target, own), place, given, name_of(target))

    def arguments(self, given: dict, place: str, arguments: Arguments, owner: str, *, required: bool = True) -> None:
        """Report unknown arguments of `owner`, values of a wrong type or out of range, and missing arguments."""
        for name, value in given.items():
            where = f"{place}.{name}" if place else name
            if name in arguments.parameters:
                kind = arguments.kinds.get(name, Any)
                wrong = wrong_kind(value, kind, arguments.parameters[name].default)
                text = f"{owner} {wrong}" if wrong else out_of_bounds(name, value)
                if text:
                    self.add(where, text, value)
                elif isinstance(value, dict):
                    self._parts(value, where, kind)
            elif not arguments.open:
                hint = did_you_mean(str(name), arguments.parameters) or "."
                takes = ", ".join(sorted(arguments.parameters)) or "nothing"
                self.add(where, f"{owner} takes no argument {name!r}{hint} It takes: {takes}", value)
        for name in sorted(arguments.required - set(given)) if required else ():
            near = nearest(name, set(given) - set(arguments.parameters))
            self.add(f"{place}.{name}", f"{owner} needs this argument" + (f" (`{near[0]}` is given)" if near else ""))

    def _parts(self, value: dict, place: str, annotation: Any) -> None:
        """Check plain dicts whose keys are the arguments of a class."""
        kind = kind_of(annotation)
        parts = [(kind.whole, value, place), *((kind.each, v, f"{place}.{k}") for k, v in value.items())]
        for part, given, where in parts:
            if part is not None and isinstance(given, dict) and "type" not in given:
                self.places[part] = where
                section = inspect.isclass(part) and issubclass(part, BaseModel)  # modules get some from their model
                self.arguments(given, where, arguments_of(part), where if section else name_of(part), required=section)

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
        elif isinstance(value, dict):
            holder = _holder(value["type"], registry) if "type" in value else None
            if holder is not None or ("type" in value and registry.name in _CLOSED):
                holder = holder or registry
                return self.component(value, place, holder, required=holder.name != "model")
            for name, item in value.items():
                where = f"{place}.{name}"
                self.nested(item, where, NESTED.get(name, registry))
                text = out_of_bounds(key if key.endswith("_mult") else str(name), item)
                if text and not any(found.place == where for found in self.found):
                    self.add(where, text, item)
        return None

    def _order(self, pipeline: Any, place: str) -> None:
        """Check the order of this package's transforms by `pipeline_stage`: LoadVideoFrame -1, LoadImage 0, others 1,
        PackInputs 2, last; transforms without a stage may be anywhere before the last."""
        kinds = [resolve(step.get("type"), ours.TRANSFORMS) if isinstance(step, dict) else None for step in pipeline]
        own = [getattr(kind, "__module__", "").startswith("vislab.") for kind in kinds]
        stages = [getattr(kind, "pipeline_stage", 1) if known else None for kind, known in zip(kinds, own, strict=True)]
        for i, stage in enumerate(stages):
            for kind, other in zip(kinds[i + 1 :], stages[i + 1 :], strict=True):
                if stage == 2 or None not in (stage, other) and other < stage:
                    return self.add(f"{place}.{i}", f"comes before {name_of(kind)}, which must come first", kinds[i])
        if kinds and all(own) and 2 not in stages:
            self.add(place, "makes no batch: the last transform must be PackInputs")
        return None

    def attempt(self, build: Callable[[], Any], place: str, given: dict, owner: str = "") -> Any:
        """Return the result of `build`; report an exception at `place`, or at the argument that its message names."""
        try:
            return build()
        except NeedsRun:
            return None
        except Exception as error:  # constructors raise many types for invalid arguments
            return self.found.append(problem_of(error, place, given, owner))


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
    registry = _holder(node.get("type"), ours.MODELS)
    return set() if registry is None else set(_arguments(resolve(node["type"], registry), node, registry).parameters)


def name_of(target: Any) -> str:
    return getattr(target, "__name__", None) or getattr(getattr(target, "func", None), "__name__", str(target))


def call(target: Callable, given: dict) -> Any:
    return target(**given)


def _unread(target: Callable, given: dict) -> Any:
    """Build a dataset without reading its annotations, for classes with lazy initialization."""
    if not issubclass(target, BaseDataset) or "lazy_init" not in arguments_of(target).parameters:
        raise NeedsRun
    root = {"data_root": ""} if "data_root" in given else {}  # paths are checked separately
    return target(**{**given, **root, "pipeline": [], "lazy_init": True})


# Components that are built from their arguments only
BUILT = {"hook": call, "transform": call, "metric": call, "log_processor": call, "dataset": _unread}


def _arguments(target: Callable, node: dict, registry: Registry) -> Arguments:
    """Return the arguments in the config of a component; those that the Runner passes are not required."""
    is_hook = inspect.isclass(target) and issubclass(target, Hook)
    own, passed = arguments_of(target, strict=is_hook), GIVEN.get(registry.name, set())
    if is_hook and issubclass(target, EMAHook):  # **kwargs are the arguments of the averaged model
        model = resolve(node.get("ema_type", "ExponentialMovingAverage"), ours.MODELS)
        more = arguments_of(model).parameters if callable(model) else {}
        more = {name: parameter for name, parameter in more.items() if name not in ("model", "device")}
        own = Arguments(more | own.parameters, own.open)
    if not inspect.isclass(target) and registry.name == "function":  # called with a batch first
        passed = set(list(own.parameters)[:1])
    return own.but(passed=passed, more=EXTRA.get(registry.name, set()))


@functools.cache
def _registries() -> tuple[Registry, ...]:
    found = {r.name: r for module in (root, ours) for r in vars(module).values() if isinstance(r, Registry)}
    return tuple(found.values())


def _chain(registry: Registry | None) -> list[Registry]:
    """Return a registry and its parents."""
    return [] if registry is None else [registry, *_chain(registry.parent)]


def _holder(kind: Any, likely: Registry) -> Registry | None:
    """Return the registry of a component: `likely` if it contains the component, else the first that does."""
    for registry in (likely, *_registries()):
        target = resolve(kind, registry)
        if callable(target) and any(target in part.module_dict.values() for part in _chain(registry)):
            return registry
    return likely if callable(resolve(kind, likely)) else None
