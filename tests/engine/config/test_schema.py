"""Test arguments from signatures: **kwargs, required arguments, values of a wrong type."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from mmengine import hooks, optim
from mmengine import registry as root
from mmengine.registry import Registry

from vislab import registry as ours
from vislab.engine.config.schema import arguments_of, wrong_kind


class Parent:
    def __init__(self, width: int, *, depth: int = 1):
        pass


class Forwards(Parent):
    def __init__(self, *, extra: str = "", **kwargs):
        super().__init__(**kwargs)


class Fills(Parent):
    def __init__(self, **kwargs):
        super().__init__(8, depth=2, **kwargs)


class Swallows(Parent):
    def __init__(self, name: str, **kwargs):
        self.kept = kwargs


class HandsOn(Parent):
    def __init__(self, name: str, **kwargs):
        super().__init__(width=3)
        self.built = dict(**kwargs)


class OldStyle(Parent):
    def __init__(self, extra: int = 0, **kwargs):
        Parent.__init__(self, 3, **kwargs)


@pytest.mark.parametrize(
    "target, names, required, is_open",
    [
        (Forwards, {"extra", "width", "depth"}, {"width"}, False),
        (Fills, set(), set(), False),
        (Swallows, {"name"}, {"name"}, False),
        (HandsOn, {"name"}, {"name"}, True),
        (OldStyle, {"extra", "depth"}, set(), False),
        (lambda batch, size=1: None, {"batch", "size"}, {"batch"}, False),
    ],
)
def test_kwargs_are_followed(target, names, required, is_open):
    arguments = arguments_of(target)
    assert (set(arguments.parameters), arguments.required, arguments.open) == (names, required, is_open)


def test_strict_never_takes_any_name():
    assert arguments_of(HandsOn, strict=True).open is False


def test_third_party():
    assert "intervall" not in arguments_of(hooks.CheckpointHook, strict=True).parameters
    assert not arguments_of(hooks.CheckpointHook, strict=True).open
    cosine = arguments_of(optim.CosineAnnealingLR)
    assert {"T_max", "eta_min", "begin", "end"} <= set(cosine.parameters) and not cosine.open
    assert cosine.required == {"optimizer"}  # `param_name` is filled in by the mixin
    assert arguments_of(torch.optim.SGD).required == {"params"}


INT_OR_PAIR = int | tuple[int, int]


@pytest.mark.parametrize(
    "value, kind, wrong",
    [
        (1, int, False), ("1", int, True), (1.5, int, True), (True, int, True), (1, float, False), ("0.1", float, True),
        (True, bool, False), (0, bool, False), ("False", bool, True), (None, int, True), (None, int | None, False),
        ([1, 2], INT_OR_PAIR, False), ("12", INT_OR_PAIR, True), ({}, list[int], True), ((1,), list[int], False),
        ("abc", Sequence[int], True), ("abc", Sequence[str], False), ("a", Literal["a", "b"], False),
        ("c", Literal["a", "b"], True), ("x.txt", Path, False), (3, Path, True), ("0.1", float | torch.Tensor, True),
        ("relu", Callable, False), ("anything", torch.nn.Module, False), (3, "unknown", False),
    ],
)  # fmt: skip
def test_wrong_kind(value, kind, wrong):
    assert (wrong_kind(value, kind) is not None) == wrong


def test_defaults_always_fit():
    assert wrong_kind(None, int, default=None) is None
    assert wrong_kind("auto", int, default="auto") is None


def test_every_component_accepts_its_own_defaults():
    """No false alarm in mmengine, torch or this package: a default is a value somebody meant."""
    registries = [r for module in (root, ours) for r in vars(module).values() if isinstance(r, Registry)]
    checked = 0
    for registry in registries:
        registry.import_from_location()
        for target in registry.module_dict.values():
            arguments = arguments_of(target)
            for name, kind in arguments.kinds.items():
                default = arguments.parameters[name].default
                if default is not inspect.Parameter.empty and default is not None:
                    assert wrong_kind(default, kind) is None, f"{target}: {name}: {kind} = {default!r}"
                    checked += 1
    assert checked > 300
