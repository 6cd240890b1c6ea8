"""Restore optimizers and parameter schedulers on resume: settings from the config, state from the checkpoint.

A checkpoint contains the settings of the optimizer groups and schedulers at the start of its run. If the config has
the same settings, training continues bit for bit. A changed setting takes effect and is logged. A scheduler whose
settings changed, or whose iterations changed their meaning, is stepped again from the start of the run to the position
of the checkpoint.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler

from vislab.engine.distributed import unwrap
from vislab.engine.resume.run_state import check_settings, load_optimizer_state

_NAMELESS = ""  # the only wrapper of a run
_PROGRESS = {"last_step", "_global_step", "_last_value", "base_values", "best", "num_bad_epochs", "cooldown_counter"}


def wrappers_of(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, OptimWrapper]:
    """Return the optimizer wrappers by name; a single one has an empty name."""
    return dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {_NAMELESS: wrapper}


def schedulers_of(schedulers: list | dict | None) -> dict[str, list[_ParamScheduler]]:
    """Return the schedulers of each wrapper."""
    return schedulers if isinstance(schedulers, dict) else {_NAMELESS: schedulers or []}


def optimizer_settings(wrapper: OptimWrapper | OptimWrapperDict, model: torch.nn.Module) -> dict[str, dict]:
    """Return class, group settings and parameter names of each optimizer as plain data.

    Called before the schedulers are built, because these change the settings.
    """
    model = unwrap(model)  # the names are the same for any number of processes
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        key: {
            "type": type(one.optimizer).__name__,
            "groups": [_settings(group) for group in one.param_groups],
            "parameters": [[names.get(id(p), "?") for p in group["params"]] for group in one.optimizer.param_groups],
        }
        for key, one in wrappers_of(wrapper).items()
    }


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}


def schedule_settings(schedulers: list | dict | None) -> dict[str, list[dict]]:
    """Return class and attributes of each newly built scheduler as plain data."""
    return {
        key: [{"type": type(one).__name__, **copy.deepcopy(_plain_state(one))} for one in group]
        for key, group in schedulers_of(schedulers).items()
    }


def _plain_state(scheduler: _ParamScheduler) -> dict[str, Any]:
    """Return the state of a scheduler without functions (OneCycle, lambdas), which come from the config."""
    return {key: value for key, value in scheduler.state_dict().items() if not callable(value)}


def schedule_states(schedulers: list | dict) -> list | dict:
    """Return the states of all schedulers, nested like `schedulers`."""
    if isinstance(schedulers, dict):
        return {key: [_plain_state(one) for one in group] for key, group in schedulers.items()}
    return [_plain_state(one) for one in schedulers]


class OptimizationState:
    """Restores the optimizers and schedulers of a built run from a checkpoint.

    Args:
        wrapper: Optimizers as built from the config.
        schedulers: Schedulers as built from the config; their first values are set in the optimizers.
        now: `optimizer_settings` and `schedule_settings` of this run, as {"optimizers": ..., "schedules": ...}.
        checkpoint: Content of the checkpoint file.
    """

    def __init__(
        self, wrapper: OptimWrapper | OptimWrapperDict, schedulers: list | dict | None, now: dict, checkpoint: Mapping
    ) -> None:
        self.wrappers, self.now = wrappers_of(wrapper), now
        self.schedulers = {key: group for key, group in schedulers_of(schedulers).items() if group}
        self.checkpoint = checkpoint
        self.then = checkpoint.get("settings") or {}
        self._fresh = {key: [_settings(g) for g in one.param_groups] for key, one in self.wrappers.items()}
        self._scheduled = {
            key: {name for one in group for name in _scheduled_keys(one)} for key, group in self.schedulers.items()
        }

    def check(self) -> None:
        """Raise ValueError if the optimizers or schedulers of the checkpoint are not those of the config."""
        for key, saved in self.then.get("optimizers", {}).items():
            mine = self.now["optimizers"].get(key)
            if mine is None or saved["type"] != mine["type"]:
                raise ValueError(f"it contains the state of {saved['type']}, the config has {mine and mine['type']}")
            if saved["parameters"] != mine["parameters"]:
                raise ValueError(_other_parameters(saved["parameters"], mine["parameters"]))
        saved = self.checkpoint.get("param_schedulers")
        if saved is None and self.schedulers:
            raise ValueError("it has no param_schedulers, but the config has some")
        states = saved if isinstance(saved, Mapping) else {_NAMELESS: saved or []}
        for key in {**states, **self.schedulers}:
            theirs, mine = len(states.get(key, ())), len(self.schedulers.get(key, ()))
            if theirs != mine:
                raise ValueError(f"it has {theirs} parameter schedulers, the config has {mine}")

    def load_optimizers(self) -> list[str]:
        """Load the optimizer states with the settings of the config; return the changed settings as text."""
        changed, saved = [], self.checkpoint["optimizer"]
        for key, wrapper in self.wrappers.items():
            state = dict(saved if key == _NAMELESS else saved[key])
            groups = [*state["param_groups"]]
            if state.get("base_param_settings") is not None:
                groups.append(state["base_param_settings"])
            for number, (group, name, new) in enumerate(self._changed_settings(key, groups)):
                changed.append(f"{name} of group {number}: {group.get(name)!r} -> {new!r}")
                group[name] = new
            load_optimizer_state(wrapper, state)
        return changed

    def _changed_settings(self, key: str, groups: list[dict]) -> Iterator[tuple[dict, str, Any]]:
        now = self.now["optimizers"][key]["groups"]
        then = self.then.get("optimizers", {}).get(key, {}).get("groups")
        if then is None:  # written by an older version: the first value of a scheduled setting is in the group
            then = [{k: group.get(f"initial_{k}", value) for k, value in group.items()} for group in groups]
        for group, mine, theirs in zip(groups, now, then, strict=False):
            for name in mine:
                if name not in self._scheduled.get(key, ()) and name in theirs and not _same(mine[name], theirs[name]):
                    yield group, name, mine[name]

    def schedule_changes(self) -> list[str]:
        """Return the differences between the schedulers of checkpoint and config, including first values, as text."""
        changed = []
        for key, group in self.schedulers.items():
            for number, (scheduler, mine) in enumerate(zip(group, self.now["schedules"][key], strict=True)):
                theirs, known = self._saved_schedule(key, number), type(scheduler).__module__
                if theirs is None and not known.startswith(("mmengine.", "vislab.")):
                    continue  # written by an older version, and the settings of this class are unknown
                if theirs is None:
                    saved = self.checkpoint["param_schedulers"]
                    theirs = (saved if key == _NAMELESS else saved[key])[number]
                skipped = _PROGRESS | {"verbose", "type" if "type" not in theirs else ""}
                names = [name for name in {**mine, **theirs} if name not in skipped]
                changed += [
                    f"{mine['type']}.{name}: {_text(theirs.get(name))} -> {_text(mine.get(name))}"
                    for name in names
                    if not _same(mine.get(name), theirs.get(name))
                ]
            changed += [f"{name}: {theirs!r} -> {mine!r}" for name, theirs, mine in self._changed_first_values(key)]
        return list(dict.fromkeys(changed))

    def _saved_schedule(self, key: str, number: int) -> dict | None:
        saved = self.then.get("schedules", {}).get(key)
        return saved[number] if saved is not None and number < len(saved) else None

    def _changed_first_values(self, key: str) -> Iterator[tuple[str, Any, Any]]:
        now = self.now["optimizers"][key]["groups"]
        then = self.then.get("optimizers", {}).get(key, {}).get("groups")
        if then is None:
            saved = self.checkpoint["optimizer"] if key == _NAMELESS else self.checkpoint["optimizer"][key]
            then = [
                {k.removeprefix("initial_"): v for k, v in group.items() if k.startswith("initial_")}
                for group in saved["param_groups"]
            ]
            kinds = {type(one).__name__ for one in self.schedulers[key]}
            if any("OneCycle" in kind for kind in kinds):  # sets the first value itself
                return
        for mine, theirs in zip(now, then, strict=False):
            for name in self._scheduled[key]:
                if name in mine and name in theirs and not _same(mine[name], theirs[name]):
                    yield name, theirs[name], mine[name]

    def load_schedules(self) -> None:
        """Load the saved state of each scheduler."""
        saved = self.checkpoint.get("param_schedulers")
        for key, group in self.schedulers.items():
            for scheduler, state in zip(group, saved if key == _NAMELESS else saved[key], strict=True):
                check_settings(_plain_state(scheduler), state, type(scheduler).__name__)
                scheduler.load_state_dict(state)

    def follow_schedules(self, epochs: int, iterations: int, epoch_length: int | None) -> None:
        """Step all schedulers from the start of the run to the given position, as ParamSchedulerHook does.

        Args:
            epochs: Number of completed epochs.
            iterations: Number of completed iterations.
            epoch_length: Iterations per epoch; None in a run measured in iterations.

        Raises:
            ValueError: If a scheduler depends on validation results.
        """
        for key, group in self.schedulers.items():
            if any(isinstance(one, ReduceOnPlateauParamScheduler) for one in group):
                raise ValueError(
                    "a schedule, its first value or the meaning of an iteration has changed, and ReduceOnPlateau "
                    "cannot be replayed because it depends on past validation results"
                )
            for one, first in zip(self.wrappers[key].param_groups, self._fresh[key], strict=True):
                for name in self._scheduled[key]:
                    one.pop(name, None)
                    if name in first:
                        one[name] = first[name]
            by_iteration = [one for one in group if not one.by_epoch]
            by_epoch = [one for one in group if one.by_epoch]
            with warnings.catch_warnings():  # "lr_scheduler.step() before optimizer.step()"
                warnings.simplefilter("ignore", UserWarning)
                for iteration in range(1, iterations + 1):
                    for one in by_iteration:
                        one.step()
                    if epoch_length and iteration % epoch_length == 0 and iteration // epoch_length <= epochs:
                        for one in by_epoch:
                            one.step()


def _scheduled_keys(scheduler: _ParamScheduler) -> list[str]:
    """Return the keys of the parameter groups that a scheduler writes."""
    name = scheduler.param_name
    betas = ["betas"] if getattr(scheduler, "use_betas", False) else []
    return [name, f"initial_{name}", f"max_{name}", f"min_{name}", *betas]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {str(k): v for k, v in one.items()} == {str(k): v for k, v in other.items()}
    return bool(one == other)


def _text(value: Any) -> str:
    return str(sorted(value)) if isinstance(value, Mapping) else str(value)  # milestones are stored in a Counter


def _other_parameters(saved: list[list[str]], mine: list[list[str]]) -> str:
    theirs, ours = [name for group in saved for name in group], [name for group in mine for name in group]
    if set(theirs) == set(ours):
        return f"its optimizer has the parameters in {len(saved)} groups, the config in {len(mine)} or in another order"
    gone, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    parts = [f"{len(gone)} are no longer trained ({', '.join(gone[:3])})"] if gone else []
    parts += [f"{len(new)} were not trained before ({', '.join(new[:3])})"] if new else []
    return f"its optimizer trains other parameters: {'; '.join(parts)}"
