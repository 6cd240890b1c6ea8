"""Check what updates the weights: optim_wrapper with its optimizer and constructor, auto_scale_lr, param_scheduler."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper

from vislab import registry as ours
from vislab.engine.config.components import (
    Problem,
    check_arguments,
    check_component,
    check_keys,
    described,
    missing,
    name_of,
    only,
    problem,
    resolve,
)
from vislab.engine.config.signatures import arguments_of
from vislab.errors import did_you_mean

PARAMWISE = (
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "flat_decay_mult",
    "dwconv_decay_mult",
    "dcn_offset_lr_mult",
    "bypass_duplicate",
    "custom_keys",
)


def optimization(cfg: dict, files: bool) -> Iterator[Problem]:
    wrapper, place = cfg.get("optim_wrapper"), "optim_wrapper"
    if isinstance(wrapper, dict):
        special = ("optimizer", "constructor", "paramwise_cfg")
        named = wrapper.get("constructor", DefaultOptimWrapperConstructor)
        constructor = resolve(named, ours.OPTIM_WRAPPER_CONSTRUCTORS)
        several = "optimizer" not in wrapper and "constructor" in wrapper  # it builds several wrappers in its own way
        own = {k: v for k, v in wrapper.items() if k not in special}
        if not several:
            for found in check_component(own, place, ours.OPTIM_WRAPPERS, files=files, default=OptimWrapper):
                for key in special:  # a near miss of one of the keys taken out above
                    if did_you_mean(found.place.split(".")[-1], [key]) and key not in wrapper and ";" not in found.text:
                        found.text = found.text.replace(". It takes", f"; did you mean {key!r}? It takes", 1)
                        break
                yield found
            if wrapper.get("optimizer") is None:
                yield missing(f"{place}.optimizer", f"needs an optimizer{did_you_mean('optimizer', own)}")
            else:
                yield from check_component(wrapper["optimizer"], f"{place}.optimizer", ours.OPTIMIZERS, files=files)
        if constructor is None:
            registry = ours.OPTIM_WRAPPER_CONSTRUCTORS
            yield from check_component({"type": named}, f"{place}.constructor", registry, files=files)
        elif wrapper.get("paramwise_cfg") is not None:
            yield from _paramwise(wrapper["paramwise_cfg"], constructor, f"{place}.paramwise_cfg")
        if wrapper.get("clip_grad") is not None:
            yield from _clip_grad(wrapper["clip_grad"], f"{place}.clip_grad")
    elif wrapper is not None:
        yield problem(place, wrapper, f"expected a dict, got {type(wrapper).__name__}")
    scale = cfg.get("auto_scale_lr")
    if scale is not None:
        names = {"base_batch_size": int, "enable": bool}
        yield from check_keys(scale, "auto_scale_lr", tuple(names))
        yield from check_arguments(only(scale, names), "auto_scale_lr", described(names), "auto_scale_lr")
        if isinstance(scale, dict) and "base_batch_size" not in scale:
            yield missing("auto_scale_lr.base_batch_size", "needed: the batch size the learning rate is for")


def _paramwise(paramwise: Any, constructor: Any, place: str) -> Iterator[Problem]:
    """A constructor may name what it understands: `paramwise_type`, a class whose arguments are the keys."""
    described = getattr(constructor, "paramwise_type", None)
    if described is not None and isinstance(paramwise, dict):
        yield from check_arguments(paramwise, place, arguments_of(described), name_of(constructor))
    elif constructor is DefaultOptimWrapperConstructor:
        yield from check_keys(paramwise, place, PARAMWISE)
        custom = paramwise.get("custom_keys") if isinstance(paramwise, dict) else None
        for key, rule in (custom or {}).items() if isinstance(custom or {}, dict) else ():
            yield from check_keys(rule, f"{place}.custom_keys.{key}", ("lr_mult", "decay_mult"))


def _clip_grad(clip: Any, place: str) -> Iterator[Problem]:
    if not isinstance(clip, dict):
        yield problem(place, clip, "expected a dict, e.g. dict(max_norm=1.0)")
        return
    functions = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}
    kind = clip.get("type", "norm")
    if kind not in functions:
        yield problem(f"{place}.type", kind, f"expected 'norm' or 'value'{did_you_mean(str(kind), functions)}")
        return
    arguments = arguments_of(functions[kind])
    given = {k: v for k, v in clip.items() if k != "type"}
    yield from check_arguments(given, place, arguments, name_of(functions[kind]))
    for name in sorted(arguments.required - set(given) - {"parameters"}):
        yield missing(f"{place}.{name}", f"{name_of(functions[kind])} needs this argument")


def schedulers(cfg: dict, files: bool) -> Iterator[Problem]:
    given = cfg.get("param_scheduler")
    if isinstance(given, dict) and "type" not in given and all(isinstance(v, (dict, list)) for v in given.values()):
        groups = {f"param_scheduler.{name}": value for name, value in given.items()}  # one list an optimizer
    else:
        groups = {"param_scheduler": given}
    for place, group in groups.items():
        if isinstance(group, dict):
            yield from check_component(group, place, ours.PARAM_SCHEDULERS, files=files)
        for i, scheduler in enumerate(group) if isinstance(group, (list, tuple)) else ():
            yield from check_component(scheduler, f"{place}.{i}", ours.PARAM_SCHEDULERS, files=files)
        if group is not None and not isinstance(group, (dict, list, tuple)):
            yield problem(place, group, "expected a scheduler, `dict(type=...)`, or a list of them")
