"""What a run leaves behind for programs to read: metrics.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import MessageHub

from vislab.engine.checkpoint import write_text_atomically


def write_metrics(
    path: Path, metrics: Mapping[str, Any], *, config: str | None, checkpoint: str | None, seconds: float
) -> None:
    """Write {"metrics", "config", "checkpoint", "seconds"} in one step; numbers of numpy and torch become Python's."""
    report = {
        "metrics": _as_json(metrics),
        "config": config,
        "checkpoint": checkpoint,
        "seconds": round(seconds, 3),
    }
    write_text_atomically(json.dumps(report, indent=2) + "\n", path)


def logged_metrics(hub: MessageHub) -> dict[str, float]:
    """What a finished, resumed run validated last, from its log; without validation, the last training losses."""
    for prefix in ("val/", "train/loss"):
        found = {k.split("/", 1)[1]: float(v.current()) for k, v in hub.log_scalars.items() if k.startswith(prefix)}
        found = {k: v for k, v in found.items() if k not in ("time", "data_time")}
        if found:
            return found
    return {}


def _as_json(value: Any) -> Any:
    """What JSON has no form for becomes text."""
    if isinstance(value, Mapping):
        return {str(k): _as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(v) for v in value]
    if hasattr(value, "tolist"):
        return _as_json(value.tolist())
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
