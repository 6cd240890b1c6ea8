"""Check components against the run: its length, and the names of its metrics."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from vislab.engine.config.components import Walk
from vislab.errors import did_you_mean

_BEGINS = ("begin", "begin_epoch", "begin_iter", "milestones")  # must be less than the length of the run
_LAST = ("val_begin", "save_begin", "end", "T_max", "total_steps")  # must be at most the length of the run
_METRICS = ("save_best", "monitor", "metrics")  # arguments of hooks and schedulers that are names of metrics


class Run:
    """Properties of the run described by a config.

    Attributes:
        by_epoch: Whether the length of the run is given in epochs.
        steps: Number of epochs or iterations; None if unknown.
        validated: Whether the run has a validation loop.
        metrics: Names of the validation metrics, with `*` as wildcard; None if unknown.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        train_cfg = cfg.get("train_cfg")
        train_cfg = train_cfg if isinstance(train_cfg, Mapping) else {}
        by_epoch = train_cfg.get("by_epoch")
        self.by_epoch = by_epoch if isinstance(by_epoch, bool) else "max_epochs" in train_cfg
        value = train_cfg.get("max_epochs" if self.by_epoch else "max_iters")
        self.steps = value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
        self.validated = cfg.get("val_dataloader") is not None
        self.metrics: list[str] | None = None

    def compare(self, walk: Walk, given: Any, place: str, by_epoch: bool | None = None) -> None:
        """Report intervals beyond the end of the run and names of unknown metrics.

        Args:
            walk: Collector of the problems.
            given: Arguments of a component.
            place: Dotted key of the component.
            by_epoch: Whether the component counts epochs; None: the unit of the training loop.
        """
        unit = "epochs" if self.by_epoch else "iterations"
        for name in (*_BEGINS, *_LAST):
            counts_epochs = {"begin_epoch": True, "begin_iter": False}.get(name, by_epoch)
            if self.steps is None or counts_epochs not in (None, self.by_epoch):
                continue
            values = given.get(name)
            for value in values if isinstance(values, (list, tuple)) else [values]:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if number and (value >= self.steps if name in _BEGINS else value > self.steps):
                    walk.add(f"{place}.{name}", f"is beyond the end of the run, which has {self.steps} {unit}", values)
                    break
        for argument in _METRICS:
            names = given.get(argument)
            for name in [names] if isinstance(names, str) else names or ():
                if not self.validated:
                    walk.add(f"{place}.{argument}", "names a metric, but nothing is validated", name)
                elif name != "auto" and self.metrics is not None and not any(fnmatch(name, m) for m in self.metrics):
                    gives = f"{did_you_mean(name, self.metrics) or '.'} It has: {', '.join(self.metrics)}"
                    walk.add(f"{place}.{argument}", f"validation has no such metric{gives}", name)


def result_names(metrics: list[Any]) -> list[str] | None:
    """Return the result names of built metrics from their `result_names()`; None if one has no such method."""
    if not all(hasattr(metric, "result_names") for metric in metrics):
        return None
    names = [(metric.prefix, name) for metric in metrics for name in metric.result_names()]
    return [f"{prefix}/{name}" if prefix else name for prefix, name in names]
