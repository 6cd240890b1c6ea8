"""Check hooks: each one, its slot in `default_hooks`, against the run, and for duplicates."""

import itertools
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.runner.priority import Priority

from vislab.engine.config import dry
from vislab.engine.config.components import Walk, name_of, resolve
from vislab.engine.config.run import Run
from vislab.engine.hooks import DEFAULT_HOOKS, VisualizationHook
from vislab.errors import did_you_mean
from vislab.registry import HOOKS

OPTIONAL_SLOTS: dict[str, type[Hook] | None] = {"visualization": VisualizationHook, "sampler_seed": None}


def check_hooks(walk: Walk, cfg: dict[str, Any], run: Run) -> dict[str, Hook]:
    """Report problems of `default_hooks` and `custom_hooks`; returns the built hooks by place."""
    default, custom = cfg.get("default_hooks", {}), cfg.get("custom_hooks", [])
    slots = {name: resolve(hook["type"], HOOKS) for name, hook in DEFAULT_HOOKS.items()} | OPTIONAL_SLOTS
    if not walk.is_dict(default, "default_hooks", "as in dict(logger=dict(type=LoggerHook))"):
        default = {}
    if not isinstance(custom, (list, tuple)):
        walk.add("custom_hooks", f"expected a list, got {type(custom).__name__}", custom)
        custom = []
    for name in default:
        if name not in slots:
            hint = did_you_mean(str(name), slots) or "."
            text = f"no default hook has this name{hint} They are: {', '.join(slots)}; others go into custom_hooks"
            walk.add(f"default_hooks.{name}", text, default[name])
    configs = {f"default_hooks.{name}": hook for name, hook in default.items() if hook is not None and name in slots}
    configs |= {f"custom_hooks.{i}": hook for i, hook in enumerate(custom)}
    checked = {place: _check_hook(walk, hook, place, run) for place, hook in configs.items()}
    built = {place: hook for place, hook in checked.items() if hook is not None}
    kinds = {place: type(hook) for place, hook in built.items()}
    for name, kind in slots.items():
        place = f"default_hooks.{name}"
        if name not in default and name not in OPTIONAL_SLOTS:
            kinds[place] = kind
        elif kind is not None and place in kinds:
            _check_slot(walk, kind, kinds[place], f"{place}.type")
    _check_doubles(walk, configs, kinds)
    return built


def hook_results(cfg: dict[str, Any]) -> list[str]:
    """Return the names of metrics that custom hooks add to those of a validation, by their `result_names`."""
    hooks = [hook for hook in cfg.get("custom_hooks", []) or [] if isinstance(hook, dict) and "type" in hook]
    kinds = [(resolve(hook["type"], HOOKS), hook) for hook in hooks]
    return [name for kind, hook in kinds if hasattr(kind, "result_names") for name in kind.result_names(hook)]


def _check_hook(walk: Walk, hook: Any, place: str, run: Run) -> Hook | None:
    built, names = walk.component(hook, place, HOOKS), list(Priority.__members__)
    priority = hook.get("priority", 50) if isinstance(hook, dict) else 50
    if priority.upper() not in names if isinstance(priority, str) else priority not in range(101):
        hint = did_you_mean(str(priority), names)
        walk.add(f"{place}.priority", f"expected 0..100 or one of {', '.join(names)}{hint}", priority)
    if built is None:
        return None
    walk.attempt(lambda: dry.hook(built, run.by_epoch if run.steps else None), place, hook, name_of(type(built)))
    run.compare(walk, hook, place, hook.get("by_epoch"))
    interval = hook.get("interval", 1)
    if isinstance(built, EMAHook) and run.steps and not run.by_epoch and interval >= run.steps:
        text = f"the run has {run.steps} iterations: the average would stay the weights of the first one"
        walk.add(f"{place}.interval", text, interval)
    return built


def _check_slot(walk: Walk, default: type, given: type, place: str) -> None:
    """Report a hook of vislab or mmengine that replaces a default hook but is not derived from it."""
    related = (set(default.__mro__) & set(given.__mro__)) - {Hook, object}
    if not related and given.__module__.split(".")[0] in ("vislab", "mmengine"):
        text = f"replaces {default.__name__}, which does something else: put it into custom_hooks"
        walk.add(place, text, given)


def _check_doubles(walk: Walk, configs: dict[str, Any], kinds: dict[str, type]) -> None:
    """Report duplicate hooks: of a default hook, with equal settings, or of a class with `only_one`."""
    for place, other in itertools.combinations(kinds, 2):
        kind, twin = kinds[place], kinds[other]
        once = next((c for c in kind.__mro__ if c is EMAHook or c.__dict__.get("only_one")), None)
        beside_default = any(where.startswith("default_hooks.") for where in (place, other))
        same = kind is twin and (beside_default or configs[place] == configs[other])
        if same or (once is not None and issubclass(twin, once)):
            where, first = (other, place) if other in configs else (place, other)
            walk.add(where, f"there is a {kinds[first].__name__} at {first} already: keep one of them", twin)
