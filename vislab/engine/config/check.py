"""Check a whole config before any data is touched or anything is built: all mistakes at once, each with its remedy.

mmengine looks at many settings late or never: a misspelled section or `env_cfg` key is ignored, a wrong argument of a
hook fails at the first checkpoint. Here every section of the Runner is read as the Runner will read it; components are
checked by config_components.py, what updates the weights by config_optim.py.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.runner import LogProcessor
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.priority import Priority

from vislab import registry as ours
from vislab.engine.class_lists import compare_counts
from vislab.engine.config.components import (
    Problem,
    accepted_arguments,
    check_arguments,
    check_component,
    check_keys,
    check_nested,
    check_path,
    described,
    missing,
    name_of,
    only,
    problem,
    resolve,
)
from vislab.engine.config.defaults import TEST_KEYS, set_test_defaults
from vislab.engine.config.keys import RUNNER_KEYS
from vislab.engine.config.optim import optimization, schedulers
from vislab.engine.config.signatures import Arguments, arguments_of
from vislab.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from vislab.engine.runner import DEFAULT_HOOKS
from vislab.errors import ConfigError, did_you_mean

__all__ = ["Problem", "accepted_arguments", "check_class_count", "check_config", "find_problems"]

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
# What set_multi_processing and init_dist take: plain names, since both are read key by key
ENV = {
    "cudnn_benchmark": None,
    "mp_cfg": ("mp_start_method", "opencv_num_threads"),
    "dist_cfg": ("backend", "init_backend", "timeout", "port", "init_method", "world_size", "rank", "device_id"),
    "resource_limit": None,
}


def check_config(cfg: Config | dict, *, files: bool = True) -> None:
    """Raise one ConfigError that lists every mistake in `cfg`; return when there is none.

    Args:
        cfg: what `load_config` returns.
        files: also check that the folders and files it names exist.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for found in find_problems(cfg, files=files):  # a path used by three loaders is one mistake
        places.setdefault((found.value, found.text), []).append(found.place)
    if places:
        name = getattr(cfg, "filename", None) or "the config"
        count = f"{len(places)} mistake{'s' if len(places) > 1 else ''}"
        lines = [f"  {Problem(', '.join(where), *what)}" for what, where in places.items()]
        raise ConfigError(f"{name} has {count}:\n" + "\n".join(lines))


def find_problems(cfg: Config | dict, *, files: bool = True) -> list[Problem]:
    """Every mistake in `cfg`, in the order of its sections. Nothing is built; classes are imported."""
    plain = _plain(cfg._cfg_dict if isinstance(cfg, Config) else cfg)
    found = []
    for key, value in plain.items():
        if key not in RUNNER_KEYS:
            found.append(problem(key, value, f"the Runner has no such setting{did_you_mean(key, RUNNER_KEYS)}"))
    for check in (_groups, _model, _loaders, _loops, optimization, schedulers, _evaluators, _hooks, _environment):
        found += check(plain, files)
    if not found:
        found += _class_counts(plain)
    return found


def _plain(node: Any) -> Any:
    """Ordinary dicts and lists, with the imported classes themselves in place of lazy objects."""
    if isinstance(node, (LazyObject, LazyAttr)):
        return node.build()
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in dict.items(node)}
    if isinstance(node, (list, tuple)):
        return type(node)(_plain(value) for value in node)
    return node


def _groups(cfg: dict, files: bool) -> Iterator[Problem]:
    """Settings that come together or not at all."""
    if cfg.get("model") is None:
        yield missing("model", "a config needs a model")
    validation = ("val_dataloader", "val_cfg", "val_evaluator")
    for group in (("train_dataloader", "train_cfg", "optim_wrapper"), validation, TEST_KEYS):
        given = [key for key in group if cfg.get(key) is not None]
        used = set_test_defaults(dict(cfg)) if group is TEST_KEYS else cfg
        for key in sorted(key for key in group if given and used.get(key) is None):
            near = did_you_mean(key, set(cfg) - RUNNER_KEYS)
            yield missing(key, f"is needed together with {' and '.join(given)}{near}")
    if cfg.get("param_scheduler") and cfg.get("optim_wrapper") is None:
        yield missing("optim_wrapper", "is needed together with param_scheduler")


def _model(cfg: dict, files: bool) -> Iterator[Problem]:
    if cfg.get("model") is not None:
        yield from check_component(cfg["model"], "model", ours.MODELS, files=files)
    if cfg.get("data_preprocessor") is not None:
        yield from check_component(cfg["data_preprocessor"], "data_preprocessor", ours.MODELS, files=files)
    if cfg.get("model_wrapper_cfg") is not None:
        default = "MMDistributedDataParallel"
        yield from check_component(
            cfg["model_wrapper_cfg"], "model_wrapper_cfg", ours.MODEL_WRAPPERS, files=files, default=default
        )
    if cfg.get("tta_model") is not None:
        yield from check_component(cfg["tta_model"], "tta_model", ours.MODELS, files=files, required=False)
    yield from check_nested(cfg.get("tta_pipeline"), "tta_pipeline", ours.TRANSFORMS, files=files)


def _loaders(cfg: dict, files: bool) -> Iterator[Problem]:
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(key) is not None:
            yield from _loader(cfg[key], key, files)


def _loader(loader: Any, place: str, files: bool) -> Iterator[Problem]:
    if not isinstance(loader, dict):
        yield problem(place, loader, f"expected a dict, got {type(loader).__name__}")
        return
    arguments = arguments_of(torch.utils.data.DataLoader)
    extra = {"num_batch_per_epoch", "disable_subprocess_warning"}
    yield from check_arguments(loader, place, arguments, "DataLoader", extra=extra)
    if loader.get("dataset") is None:
        yield missing(f"{place}.dataset", f"a data loader needs a dataset{did_you_mean('dataset', loader)}")
    else:
        yield from check_component(loader["dataset"], f"{place}.dataset", ours.DATASETS, files=files)
    if "sampler" not in loader and "batch_sampler" not in loader:
        hint = did_you_mean("sampler", set(loader) - set(arguments.parameters))
        text = f"a data loader needs a sampler, e.g. dict(type=EpochSampler, shuffle=True){hint}"
        yield missing(f"{place}.sampler", text)
    for key in ("sampler", "batch_sampler"):
        if loader.get(key) is not None:
            yield from check_component(loader[key], f"{place}.{key}", ours.DATA_SAMPLERS, files=files)
    for key in ("collate_fn", "worker_init_fn"):
        if isinstance(loader.get(key), dict):
            yield from check_component(loader[key], f"{place}.{key}", ours.FUNCTIONS, files=files)
    if loader.get("shuffle"):
        yield problem(f"{place}.shuffle", True, "the sampler decides the order: set sampler.shuffle")


def _loops(cfg: dict, files: bool) -> Iterator[Problem]:
    train = cfg.get("train_cfg")
    if isinstance(train, dict):
        given = {k: v for k, v in train.items() if k != "by_epoch"}
        by_epoch = train.get("by_epoch", "max_epochs" in train)
        if "type" in train and "by_epoch" in train:
            yield problem("train_cfg.by_epoch", by_epoch, "give `type` or `by_epoch`, not both")
        elif not isinstance(by_epoch, bool):
            yield problem("train_cfg.by_epoch", by_epoch, "expected True (max_epochs) or False (max_iters)")
        default = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
        yield from check_component(given, "train_cfg", ours.LOOPS, files=files, default=default)
    elif train is not None:
        yield problem("train_cfg", train, f"expected a dict, got {type(train).__name__}")
    for key, loop in (("val_cfg", ValLoop), ("test_cfg", TestLoop)):
        if cfg.get(key) is not None:
            yield from check_component(cfg[key], key, ours.LOOPS, files=files, default=loop)


def _evaluators(cfg: dict, files: bool) -> Iterator[Problem]:
    for key in ("val_evaluator", "test_evaluator"):
        value = cfg.get(key)
        if isinstance(value, dict) and "metrics" in value:
            yield from check_component(value, key, ours.EVALUATOR, files=files, default="Evaluator")
        elif isinstance(value, (list, tuple)):
            for i, metric in enumerate(value):
                yield from check_component(metric, f"{key}.{i}", ours.METRICS, files=files)
        elif value is not None:
            yield from check_component(value, key, ours.METRICS, files=files)


def _hooks(cfg: dict, files: bool) -> Iterator[Problem]:
    default, custom = cfg.get("default_hooks"), cfg.get("custom_hooks")
    names = [*DEFAULT_HOOKS, "sampler_seed"]
    if isinstance(default, dict):
        for name, hook in default.items():
            place = f"default_hooks.{name}"
            if name not in names:
                hint = did_you_mean(name, names) or "."
                text = f"no default hook has this name{hint} They are: {', '.join(names)}; others go into custom_hooks"
                yield problem(place, hook, text)
            elif hook is not None:
                yield from _hook(hook, place, files)
    elif default is not None:
        yield problem("default_hooks", default, f"expected a dict, got {type(default).__name__}")
    if isinstance(custom, (list, tuple)):
        for i, hook in enumerate(custom):
            yield from _hook(hook, f"custom_hooks.{i}", files)
    elif custom is not None:
        yield problem("custom_hooks", custom, f"expected a list, got {type(custom).__name__}")


def _hook(hook: Any, place: str, files: bool) -> Iterator[Problem]:
    yield from check_component(hook, place, ours.HOOKS, files=files)
    priority = hook.get("priority") if isinstance(hook, dict) else None
    names = list(Priority.__members__)
    if isinstance(priority, str) and priority.upper() not in names:
        hint = did_you_mean(priority, names)
        yield problem(f"{place}.priority", priority, f"expected 0..100 or one of {', '.join(names)}{hint}")
    elif isinstance(priority, int) and not 0 <= priority <= 100:
        yield problem(f"{place}.priority", priority, f"expected 0..100 or one of {', '.join(names)}")


def _environment(cfg: dict, files: bool) -> Iterator[Problem]:
    env = cfg.get("env_cfg")
    if env is not None:
        yield from check_keys(env, "env_cfg", tuple(ENV))
        for key, names in ENV.items():
            if names and isinstance(env, dict) and env.get(key) is not None:
                yield from check_keys(env[key], f"env_cfg.{key}", names)
    if cfg.get("randomness") is not None:
        arguments = arguments_of(MMEngineRunner.set_randomness)
        known = Arguments(
            {k: v for k, v in arguments.parameters.items() if k != "self"}, {**arguments.kinds, "seed": int | None}
        )
        if isinstance(cfg["randomness"], dict):
            yield from check_arguments(cfg["randomness"], "randomness", known, "randomness")
        else:
            yield problem("randomness", cfg["randomness"], "expected a dict, e.g. dict(seed=0)")
    if cfg.get("visualizer") is not None:
        yield from check_component(cfg["visualizer"], "visualizer", ours.VISUALIZERS, files=files, default="Visualizer")
    if cfg.get("log_processor") is not None:
        yield from check_component(
            cfg["log_processor"], "log_processor", ours.LOG_PROCESSORS, files=files, default=LogProcessor
        )
    for key, choices in (("launcher", LAUNCHERS), ("log_level", LOG_LEVELS)):
        value = cfg.get(key)
        if value is not None and value not in choices:
            yield problem(key, value, f"expected one of {', '.join(choices)}{did_you_mean(str(value), choices)}")
    kinds = {"work_dir": str | None, "experiment_name": str | None, "default_scope": str | None}
    kinds |= {"load_from": str | None, "resume": bool | str | None, "find_unused_parameters": bool}
    yield from check_arguments(only(cfg, kinds), "", described(kinds), "the Runner")
    for key in ("load_from", "resume"):
        if files and isinstance(cfg.get(key), str) and cfg[key] != "auto":
            yield from check_path(cfg[key], key)


def _class_counts(cfg: dict) -> Iterator[Problem]:
    """`num_classes` against the classes of the training data, where config or class state them: nothing is read."""
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    while isinstance(dataset.get("dataset"), dict):  # RepeatDataset and the like
        dataset = dataset["dataset"]
    target = resolve(dataset.get("type"), ours.DATASETS)
    metainfo = {**(getattr(target, "METAINFO", None) or {}), **(dataset.get("metainfo") or {})}
    yield from compare_counts(cfg, metainfo.get("classes"), name_of(target))


def check_class_count(cfg: Config | dict, dataset: Any) -> None:
    """Compare `num_classes` in the model's config with a dataset that is built: its files have named the classes.

    Raises:
        ConfigError: they disagree.
    """
    plain = _plain(cfg._cfg_dict if isinstance(cfg, Config) else cfg)
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    found = list(compare_counts(plain, classes, type(dataset).__name__))
    if found:
        raise ConfigError("\n".join(str(p) for p in found))
