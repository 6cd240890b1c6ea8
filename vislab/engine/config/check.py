"""Check a whole config before any data is read, and report all mistakes at once with place and fix.

mmengine reads many settings late or never: a misspelled section or `env_cfg` key is ignored, and a wrong argument of a
hook fails at the first checkpoint. Here every section is checked: names and types of arguments (components.py), values
by building cheap components (dry.py), intervals and metric names against the run (run.py), and hooks (hooks.py).
"""

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import LogProcessor

from vislab import registry as ours
from vislab.engine.class_lists import compare_counts
from vislab.engine.config import dry
from vislab.engine.config.components import Walk, call, name_of, resolve
from vislab.engine.config.defaults import TEST_KEYS, set_test_defaults
from vislab.engine.config.hooks import check_hooks, hook_results
from vislab.engine.config.keys import RUNNER_KEYS
from vislab.engine.config.problems import Problem, path_problem
from vislab.engine.config.run import Run, result_names
from vislab.engine.config.schema import arguments_of
from vislab.engine.config.sections import Paramwise, Settings
from vislab.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from vislab.errors import ConfigError, did_you_mean
from vislab.io.paths import expand

_LOADER_EXTRA = {"num_batch_per_epoch", "disable_subprocess_warning"}
_CLIPS = {"norm": torch.nn.utils.clip_grad_norm_, "value": torch.nn.utils.clip_grad_value_}


def check_config(cfg: Config | dict, *, files: bool = True, train: bool = True) -> None:
    """Raise one ConfigError that lists all mistakes in `cfg`, if there are any.

    Args:
        cfg: What `load_config` returns.
        files: Also check that the folders and files it names exist.
        train: Those of the training data too.
    """
    _refuse(find_problems(cfg, files=files, train=train), getattr(cfg, "filename", None))


def check_settings(cfg: Config | dict) -> None:
    """Raise ConfigError for invalid plain settings (launcher, log level, ...) before they are replaced."""
    walk = Walk(files=False, build=False)
    _Check(_plain(_only(cfg, arguments_of(Settings).parameters)), walk).settings()
    _refuse(walk.found, getattr(cfg, "filename", None))


def _refuse(problems: list[Problem], name: str | None) -> None:
    places: dict[tuple[str, str], list[str]] = {}
    for found in problems:  # merge problems of the same value
        places.setdefault((found.value, found.text), []).append(found.place)
    if places:
        count = f"{len(places)} mistake{'s' if len(places) > 1 else ''}"
        lines = [f"  {Problem(', '.join(where), *what)}" for what, where in places.items()]
        raise ConfigError(f"{name or 'the config'} has {count}:\n" + "\n".join(lines))


def find_problems(cfg: Config | dict, *, files: bool = True, build: bool = True, train: bool = True) -> list[Problem]:
    """Return all mistakes in `cfg`, in the order of its sections. No datasets or model weights are created.

    Args:
        cfg: What `load_config` returns.
        files: Also check that the folders and files it names exist.
        build: Also check values, by building what is cheap.
        train: With `files`, check those of the training data too.
    """
    plain = _plain(cfg)
    with DefaultScope.overwrite_default_scope("vislab"), _without_traces():
        walk = Walk(files=files, build=build, unread=() if train else ("train_dataloader",))
        _Check(plain, walk).run()
    return walk.found


def check_class_count(cfg: Config | dict, dataset: Any) -> None:
    """Compare `num_classes` in the config of the model with the classes of a built dataset.

    Raises:
        ConfigError: They disagree.
    """
    plain = _plain(cfg)
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    found = [Problem(*problem) for problem in compare_counts(plain, classes, type(dataset).__name__)]
    if found:
        raise ConfigError("\n".join(str(p) for p in found))


@contextmanager
def _without_traces() -> Iterator[None]:
    """Keep the states of random numbers, and suppress warnings and log lines, which the run emits again."""
    states, disabled = (random.getstate(), np.random.get_state()), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _plain(node: Any) -> Any:
    """Return plain dicts and lists with the imported classes in place of lazy objects."""
    if isinstance(node, (LazyObject, LazyAttr)):
        return node.build()
    if isinstance(node, Config):
        return _plain(node._cfg_dict)
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in dict.items(node)}
    return type(node)(map(_plain, node)) if isinstance(node, (list, tuple)) else node


class _Check:
    """Checks a config section by section; built components are kept for comparison with later sections."""

    def __init__(self, cfg: dict, walk: Walk) -> None:
        self.cfg, self.walk = {k: v for k, v in cfg.items() if v is not None}, walk
        self.facts = Run(self.cfg)
        self.wrapper: OptimWrapper | None = None
        self.constructor: Any = None
        self.hooks: dict[str, Hook] = {}

    def run(self) -> None:
        for key, value in self.cfg.items():
            if key not in RUNNER_KEYS:
                self.walk.add(key, f"the Runner has no such setting{did_you_mean(key, RUNNER_KEYS)}", value)
        self._groups()
        sections = {
            "the config": self.settings, "model": self._parts, "val_dataloader": lambda: self._evaluation("val"),
            "test_dataloader": lambda: self._evaluation("test"), "train_cfg": self._training,
            "optim_wrapper": self._optimization, "param_scheduler": self._schedules,
            "custom_hooks": self._hooks,
        }  # fmt: skip
        for place, section in sections.items():
            self.walk.attempt(section, place, {})
        if not self.walk.found:
            self.walk.attempt(self._whole_model, "model", {})

    def settings(self) -> None:
        """Check plain values and sections of plain values."""
        settings = arguments_of(Settings)
        self.walk.arguments(_only(self.cfg, settings.parameters), "", settings, "the Runner", required=False)
        for key in ("load_from", "resume"):
            if self.walk.files and self.cfg.get(key) != "auto":
                self.walk.found += path_problem(self.cfg.get(key), key)
        scopes = {"mmengine", *ROOT_MODELS.children}
        scope, folder = self.cfg.get("default_scope", "vislab"), self.cfg.get("work_dir")
        if not isinstance(scope, str) or scope not in scopes:
            text = f"expected one of {', '.join(sorted(scopes))}{did_you_mean(str(scope), scopes)}"
            self.walk.add("default_scope", text, scope)
        full = Path(expand(folder)) if self.walk.files and isinstance(folder, str) else Path()
        if any(os.path.isfile(part) for part in (full, *full.parents)):
            self.walk.add("work_dir", "is a file, or lies in one: a folder is needed", folder)

    def _groups(self) -> None:
        """Check that settings which depend on each other are given together."""
        cfg, missing = self.cfg, {}
        if "model" not in cfg:
            missing["model"] = "a config needs a model"
        groups = [("train_dataloader", "train_cfg", "optim_wrapper"), ("val_dataloader", "val_cfg", "val_evaluator")]
        groups += [TEST_KEYS] + ([("param_scheduler", "optim_wrapper")] if "param_scheduler" in cfg else [])
        for group in groups:
            given = [key for key in group if key in cfg]
            used = set_test_defaults(dict(cfg)) if group is TEST_KEYS else cfg
            for key in sorted(key for key in group if given and used.get(key) is None):
                near = did_you_mean(key, set(cfg) - RUNNER_KEYS)
                missing.setdefault(key, f"is needed together with {' and '.join(given)}{near}")
        for key, text in missing.items():
            self.walk.add(key, text)

    def _parts(self) -> None:
        parts = {
            "model": (ours.MODELS, {}),
            "data_preprocessor": (ours.MODELS, {"build": call}),
            "tta_model": (ours.MODELS, {"required": False}),
            "model_wrapper_cfg": (ours.MODEL_WRAPPERS, {"default": "MMDistributedDataParallel"}),
            "visualizer": (ours.VISUALIZERS, {"default": "Visualizer"}),
            "log_processor": (ours.LOG_PROCESSORS, {"default": LogProcessor}),
        }
        for key, (registry, options) in parts.items():
            if key in self.cfg:
                self.walk.component(self.cfg[key], key, registry, **options)
        self.walk.nested(self.cfg.get("tta_pipeline"), "tta_pipeline", ours.TRANSFORMS)

    # ------------------------------------------------------------------------------------------------ data and loops

    def _loader(self, key: str) -> Any:
        """Check a data loader and return it, built with a stand-in dataset; None if it cannot be built."""
        loader, walk, before = self.cfg.get(key), self.walk, len(self.walk.found)
        if loader is None or not walk.is_dict(loader, key, "as in dict(batch_size=2, dataset=..., sampler=...)"):
            return None
        arguments = arguments_of(torch.utils.data.DataLoader).but(more=_LOADER_EXTRA)
        walk.arguments(loader, key, arguments, "DataLoader", required=False)
        if loader.get("dataset") is None:
            walk.add(f"{key}.dataset", f"a data loader needs a dataset{did_you_mean('dataset', loader)}")
        if "sampler" not in loader and "batch_sampler" not in loader:
            text = "a data loader needs a sampler, e.g. dict(type=EpochSampler, shuffle=True)"
            walk.add(f"{key}.sampler", text + did_you_mean("sampler", set(loader) - set(arguments.parameters)))
        if loader.get("shuffle"):
            walk.add(f"{key}.shuffle", "the sampler decides the order: set sampler.shuffle", True)
        for name in ("collate_fn", "worker_init_fn"):
            if isinstance(loader.get(name), dict):
                walk.component(loader[name], f"{key}.{name}", ours.FUNCTIONS)
        for name, build in (("sampler", dry.sampler), ("batch_sampler", None)):
            if loader.get(name) is not None:
                walk.component(loader[name], f"{key}.{name}", ours.DATA_SAMPLERS, build=build)
        built = dry.loader(walk, loader, key) if walk.build and len(walk.found) == before else None
        if loader.get("dataset") is not None:
            walk.component(loader["dataset"], f"{key}.dataset", ours.DATASETS)
        return built

    def _evaluation(self, mode: str) -> None:
        key, walk = f"{mode}_evaluator", self.walk
        loader, value = self._loader(f"{mode}_dataloader"), self.cfg.get(key)
        if isinstance(value, dict) and "metrics" in value:
            walk.component(value, key, ours.EVALUATOR, default="Evaluator")
            value, key = value["metrics"], f"{key}.metrics"
        metrics = [walk.component(metric, where, ours.METRICS) for where, metric in _each(value, key)]
        build = dry.loop(dataloader=loader, evaluator=dry.evaluator(metrics))
        if f"{mode}_cfg" in self.cfg:
            default = ValLoop if mode == "val" else TestLoop
            walk.component(self.cfg[f"{mode}_cfg"], f"{mode}_cfg", ours.LOOPS, default=default, build=build)
        if value is not None and not metrics:
            walk.add(key, "names no metric", value)
        results = result_names(metrics)
        if twice := sorted({name for name in results or () if results.count(name) > 1}):
            walk.add(key, f"two metrics have the results {', '.join(twice)}: set `prefix` of one of them")
        if mode == "val":
            self.facts.metrics = None if results is None else [*results, *hook_results(self.cfg)]

    def _training(self) -> None:
        train, walk, place = self.cfg.get("train_cfg"), self.walk, "train_cfg"
        loader = self._loader("train_dataloader")
        if train is None or not walk.is_dict(train, place, "as in dict(by_epoch=True, max_epochs=3)"):
            return
        by_epoch = train.get("by_epoch", "max_epochs" in train)
        if "type" in train and "by_epoch" in train:
            walk.add(f"{place}.by_epoch", "set either `type` or `by_epoch`, not both", by_epoch)
        elif not isinstance(by_epoch, bool):
            walk.add(f"{place}.by_epoch", "expected True (max_epochs) or False (max_iters)", by_epoch)
        given = {k: v for k, v in train.items() if k != "by_epoch"}
        default = EpochBasedTrainLoop if self.facts.by_epoch else IterBasedTrainLoop
        walk.component(given, place, ours.LOOPS, default=default, build=dry.loop(dataloader=loader))
        self.facts.compare(walk, train, place)

    # -------------------------------------------------------------------------------------------------- optimization

    def _optimization(self) -> None:
        wrapper, walk, place = self.cfg.get("optim_wrapper"), self.walk, "optim_wrapper"
        if wrapper is None or not walk.is_dict(wrapper, place, "as in dict(optimizer=dict(type=SGD, lr=0.1))"):
            return
        named = wrapper.get("constructor", DefaultOptimWrapperConstructor)
        self.constructor = resolve(named, ours.OPTIM_WRAPPER_CONSTRUCTORS)
        if self.constructor is None:
            walk.component({"type": named}, f"{place}.constructor", ours.OPTIM_WRAPPER_CONSTRUCTORS)
        rules = getattr(self.constructor, "paramwise_type", None)
        if self.constructor is DefaultOptimWrapperConstructor:
            rules = Paramwise
        if wrapper.get("paramwise_cfg") is not None and rules is not None:
            self._paramwise(wrapper["paramwise_cfg"], rules, f"{place}.paramwise_cfg")
        before = len(walk.found)
        if wrapper.get("clip_grad") is not None:
            self._clip_grad(wrapper["clip_grad"], f"{place}.clip_grad")
        clips = len(walk.found) == before
        if "optimizer" not in wrapper and "constructor" in wrapper and rules is None:
            return  # it builds several wrappers in its own way
        own = {k: v for k, v in wrapper.items() if k not in ("optimizer", "constructor", "paramwise_cfg")}
        optimizer = None
        if wrapper.get("optimizer") is None:
            walk.add(f"{place}.optimizer", f"needs an optimizer{did_you_mean('optimizer', own)}")
        else:
            optimizer = walk.component(wrapper["optimizer"], f"{place}.optimizer", ours.OPTIMIZERS, build=dry.optimizer)
        build = dry.using(optimizer=optimizer if clips else None)
        self.wrapper = walk.component(own, place, ours.OPTIM_WRAPPERS, default=OptimWrapper, build=build)

    def _paramwise(self, given: Any, rules: type, place: str) -> None:
        before, walk = len(self.walk.found), self.walk
        if walk.is_dict(given, place, "of rules"):
            walk.arguments(given, place, arguments_of(rules), name_of(self.constructor), required=False)
            if len(walk.found) == before:
                walk.attempt(lambda: rules(**given), place, given)

    def _clip_grad(self, clip: Any, place: str) -> None:
        if not self.walk.is_dict(clip, place, "as in dict(max_norm=1.0)"):
            return
        kind = clip.get("type", "norm")
        if kind not in list(_CLIPS):  # may be not hashable
            self.walk.add(f"{place}.type", f"expected 'norm' or 'value'{did_you_mean(str(kind), _CLIPS)}", kind)
            return
        arguments = arguments_of(_CLIPS[kind]).but(passed={"parameters"})
        self.walk.arguments({k: v for k, v in clip.items() if k != "type"}, place, arguments, name_of(_CLIPS[kind]))

    def _schedules(self) -> None:
        given, run = self.cfg.get("param_scheduler"), self.facts
        groups = {"param_scheduler": given}
        if isinstance(given, dict) and "type" not in given and all(isinstance(v, (dict, list)) for v in given.values()):
            groups = {f"param_scheduler.{name}": value for name, value in given.items()}  # one list per optimizer
        for place, group in groups.items():
            for where, config in _each(group, place):
                if not self.walk.is_dict(config, where, "as in dict(type=CosineAnnealingLR)"):
                    continue
                build = dry.scheduler(config, self.wrapper, run.steps, run.by_epoch)
                before = len(self.walk.found)
                self.walk.component(config, where, ours.PARAM_SCHEDULERS, build=build)
                if len(self.walk.found) == before:
                    run.compare(self.walk, config, where, config.get("by_epoch", True))

    # ------------------------------------------------------------------------------------- checks of the whole config

    def _hooks(self) -> None:
        self.hooks = check_hooks(self.walk, self.cfg, self.facts)

    def _whole_model(self) -> None:
        """Check class counts, the shapes of the model and parameter names in rules.

        Runs only if the config has no other mistakes, so that each mistake is reported once.
        """
        cfg, walk = self.cfg, self.walk
        dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
        while isinstance(dataset.get("dataset"), dict):  # wrappers such as RepeatDataset
            dataset = dataset["dataset"]
        target = resolve(dataset.get("type"), ours.DATASETS)
        metainfo = {**(getattr(target, "METAINFO", None) or {}), **(dataset.get("metainfo") or {})}
        for key in ("model", "val_evaluator", "test_evaluator"):
            found = compare_counts({"model": cfg.get(key)}, metainfo.get("classes"), name_of(target))
            for place, count, text in found:
                walk.add(place.replace("model", key, 1), text, count)
        network = dry.model(walk, cfg["model"]) if walk.build and not walk.found else None
        for place, hook in self.hooks.items() if network is not None else ():
            if hasattr(hook, "check_model"):
                walk.attempt(lambda hook=hook: hook.check_model(network), place, {})
        if network is not None and "optimizer" in cfg.get("optim_wrapper", {}):
            dry.parameter_rules(walk, self.constructor, cfg["optim_wrapper"], network)


def _only(section: dict, names: Any) -> dict[str, Any]:
    return {k: v for k, v in section.items() if k in names}


def _each(value: Any, place: str) -> list[tuple[str, Any]]:
    """Return the elements of a list with their places, or a single value with its own; None is left out."""
    parts = [(f"{place}.{i}", v) for i, v in enumerate(value)] if isinstance(value, (list, tuple)) else [(place, value)]
    return [(where, part) for where, part in parts if part is not None]
