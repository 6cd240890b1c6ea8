"""Build cheap components with stand-ins: an optimizer on one parameter, a loader without data, a meta-device model.

Errors found here would otherwise occur later in the run: after data was read, or at the first checkpoint.
"""

import inspect
import itertools
import math
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from vislab.engine.config.components import NeedsRun, Walk
from vislab.engine.config.problems import Problem, problem_of
from vislab.engine.resume.epoch_counts import check_hooks, check_schedules
from vislab.engine.runner import Runner
from vislab.errors import ConfigError, did_you_mean
from vislab.models.meta_device import meta_device
from vislab.registry import MODELS, PARAM_SCHEDULERS

_MOST_PARAMETERS = 50_000
EPOCH = 1000  # iterations per epoch; the length of the data is not known


class _Dataset:
    """Stand-in for a dataset with a million samples."""

    metainfo: Mapping = {}

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Any:
        raise NeedsRun


class _Runner:
    """Stand-in for the Runner that loops and hooks can access when they are built."""

    def __init__(self) -> None:
        self.visualizer, self.model = SimpleNamespace(), nn.Linear(1, 1)

    def __getattr__(self, name: str) -> Any:
        raise NeedsRun


def sampler(kind: Callable, given: dict) -> Any:
    return kind(dataset=_Dataset(), **({"seed": 0} | given))


def loader(walk: Walk, config: dict, place: str) -> Any:
    """Return the loader built with a stand-in dataset; None if it cannot be built."""
    return walk.attempt(lambda: Runner.build_dataloader({**config, "dataset": _Dataset()}, seed=0), place, config)


def using(**parts: Any) -> Callable[[Callable, dict], Any]:
    """Return a function that builds a component with `parts`, of which those with problems of their own are None."""

    def build(kind: Callable, given: dict) -> Any:
        if None in parts.values():
            raise NeedsRun
        return kind(**parts, **given)

    return build


def loop(**parts: Any) -> Callable[[Callable, dict], Any]:
    """Return a function that builds a loop with a loader and an evaluator."""
    return using(runner=_Runner(), **parts)


def evaluator(metrics: list) -> Any:
    return None if any(metric is None for metric in metrics) else Evaluator(metrics)


def optimizer(kind: Callable, given: dict) -> torch.optim.Optimizer:
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros(2, 2)
    group = getattr(kind, "sample_group", {})  # of optimizers whose groups need settings
    built = kind([{"params": [parameter], **group}], **given)
    if all(p.default is not p.empty for p in inspect.signature(built.step).parameters.values()):  # LBFGS needs more
        built.step()
    return built


def scheduler(config: dict, optim: Any, length: int | None, by_epoch: bool) -> Callable[[Callable, dict], Any]:
    """Return a function that builds a scheduler and steps it to its end, by default the end of the run."""

    def build(kind: Callable, given: dict) -> Any:
        if length is None or optim is None:
            raise NeedsRun
        counts_epochs = given.get("by_epoch", True)
        total = length if counts_epochs == by_epoch else length * EPOCH if by_epoch else 1
        config_ = {"end": total, **config, "type": kind}
        built = PARAM_SCHEDULERS.build(config_, default_args={"optimizer": optim, "epoch_length": EPOCH})
        if not by_epoch:
            check_schedules([built])
        if not isinstance(built, ReduceOnPlateauParamScheduler):
            built.step()
            end = min(built.end, total * EPOCH if config.get("convert_to_iter_based") else total)
            built._global_step, built.last_step = end - 2, end - 2 - built.begin
            built.step()
        if not all(math.isfinite(group["lr"]) for group in optim.param_groups):
            raise ValueError("the learning rate is not finite at the end")
        return built

    return build


def hook(built: Any, by_epoch: bool | None) -> None:
    """Raise if a hook would fail or never act during the run."""
    if isinstance(built, EMAHook):
        ROOT_MODELS.build(built.ema_cfg, default_args={"model": nn.Linear(1, 1)})
    if by_epoch is False:
        check_hooks([built])


def model(walk: Walk, config: dict) -> nn.Module | None:
    """Return the model on the meta device, which has shapes but no memory, without loading pretrained weights."""
    count = itertools.count()

    def limit(*_: Any) -> None:
        if next(count) > _MOST_PARAMETERS:
            raise ConfigError(f"the model has more than {_MOST_PARAMETERS:,} tensors: is a number of layers too large?")

    watch = register_module_parameter_registration_hook(limit)
    try:
        with meta_device():
            return MODELS.build(without_weights(config))
    except NotImplementedError:  # an operation needs values
        return None
    except Exception as error:
        if "meta" not in str(error):
            walk.found.append(_at_constructor(walk, error, config))
        return None
    finally:
        watch.remove()


def _at_constructor(walk: Walk, error: Exception, config: dict) -> Problem:
    """Return the problem at the innermost component of the config whose constructor raised the error."""
    trace, kinds = error.__traceback__, []
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_locals
        kinds += list(type(names.get("self")).__mro__) if code.co_name == "__init__" else []
        trace = trace.tb_next
    called = re.match(r"(\w+)\.__init__\(\)", str(error))  # a TypeError before the constructor runs
    kinds += [kind for kind in walk.places if called and getattr(kind, "__name__", "") == called[1]]
    place = next((walk.places[kind] for kind in reversed(kinds) if kind in walk.places), "model")
    given = config
    for key in place.split(".")[1:]:
        given = given[int(key)] if isinstance(given, (list, tuple)) else given[key]
    return problem_of(error, place, {k: v for k, v in given.items() if k != "type"})


def without_weights(node: Any) -> Any:
    """Return a part of a config in which nothing loads pretrained weights, frozen teachers included."""
    if isinstance(node, dict):
        return {k: False if k == "pretrained" and v else without_weights(v) for k, v in node.items()}
    return type(node)(map(without_weights, node)) if isinstance(node, (list, tuple)) else node


def parameter_rules(walk: Walk, constructor: Callable, config: dict, network: nn.Module) -> None:
    """Build the parameter groups with `constructor`; report names in the rules that match no parameter."""
    names = [name for name, _ in network.named_parameters()]
    rules, place = config.get("paramwise_cfg") or {}, "optim_wrapper.paramwise_cfg"
    if not names:
        return
    starts = {".".join(name.split(".")[:i]) for name in names for i in range(1, 4)}
    for key in rules.get("custom_keys") or ():
        if not any(key in name for name in names):
            walk.add(f"{place}.custom_keys.{key}", f"no parameter has this in its name{did_you_mean(key, starts)}")
    settings = {k: v for k, v in config["optimizer"].items() if k != "fused"}  # not on meta
    plain = {"type": OptimWrapper, "optimizer": settings}
    walk.attempt(lambda: constructor(plain, rules or None)(network), place, rules)
