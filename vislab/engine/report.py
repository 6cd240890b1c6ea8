"""Write metrics.json, details.json and the config of a run."""

import dataclasses
import json
import os
import platform
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MessageHub

from vislab import __version__
from vislab.cli import command
from vislab.io.atomic import write_text_atomically


def write_config(cfg: Config, folder: str | os.PathLike, timestamp: str) -> None:
    """Write the config to `folder` on the main process, with its own name or the timestamp of the run."""
    if is_main_process():
        cfg.dump(Path(folder) / (Path(cfg.filename).name if cfg.filename else f"{timestamp}.py"))


def write_metrics(
    path: Path,
    metrics: Mapping[str, Any],
    *,
    config: str | None,
    checkpoint: str | None,
    seconds: float,
    loop: Any = None,
    test: bool,
) -> None:
    """Write {"metrics", "config", "checkpoint", "seconds"} atomically; NumPy and torch numbers are converted.

    Tests do not replace the results of training in the same folder: they are added to the list "tests", with the same
    four keys and the time. The top-level keys are those of training, or of the last test if there was no training.

    details.json in the same folder gets the environment, and the details of the evaluation.

    Args:
        path: Path of metrics.json; existing content is kept as described.
        metrics: Metrics by name.
        config: Path of the config file.
        checkpoint: Path of the weights.
        seconds: Duration of the whole run, including parts before resuming.
        loop: The loop that evaluated, for the details of its metrics; not built if there was no evaluation.
        test: Whether these are results of a test.
    """
    report = {
        "metrics": _as_json(metrics),
        "config": config,
        "checkpoint": checkpoint,
        "seconds": round(seconds, 3),
    }
    before = _read_report(path)
    tests = before.pop("tests", [])
    if test:
        trained = before if before and not any(before.items() <= entry.items() for entry in tests) else {}
        tests = [*tests, {**report, "time": time.strftime("%Y-%m-%d %H:%M:%S")}]
        report = {**(trained or report)}
    write_text_atomically(json.dumps(report | ({"tests": tests} if tests else {}), indent=2) + "\n", path)
    evaluator = getattr(loop, "evaluator", None)  # a loop that is not built is a config
    write_details(path.with_name("details.json"), getattr(evaluator, "metrics", ()), test=test)


def write_details(path: Path, metrics: Iterable[Any], *, test: bool) -> None:
    """Write the environment, and the details of the last evaluation by metric, atomically.

    Args:
        path: Path of details.json.
        metrics: Metrics, of which some have `details` (vislab.evaluation.details).
        test: Whether these are results of a test.
    """
    details = [getattr(metric, "details", None) for metric in metrics]
    content = {
        "environment": environment(),
        "split": "test" if test else "val",
        "evaluation": [_as_json(dataclasses.asdict(d)) for d in details if d is not None],
    }
    write_text_atomically(json.dumps(content) + "\n", path)


def environment() -> dict[str, str]:
    """Return versions and hardware of this process, as text."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "vislab": __version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "mmengine": mmengine.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processors": f"{os.cpu_count()}, {torch.get_num_threads()} torch threads",
        "GPU": gpu,
    }


def _read_report(path: Path) -> dict[str, Any]:
    """Return the content of metrics.json; an invalid file is renamed."""
    if not path.is_file():
        return {}
    try:
        report = json.loads(path.read_text())
        if isinstance(report, dict) and all(isinstance(entry, dict) for entry in report.get("tests", [])):
            return report
    except (ValueError, TypeError):
        pass
    path.replace(path.with_name(f"{path.name}.unreadable"))
    return {}


def seconds_before(checkpoint: Mapping[str, Any]) -> float:
    """Return the training time in a checkpoint in seconds; 0 if it is unknown."""
    seconds = checkpoint["meta"].get("seconds", 0.0)
    return seconds if isinstance(seconds, (int, float)) and 0 <= seconds < float("inf") else 0.0


def closing_lines(path: Path, log_dir: str | Path, cfg: Mapping[str, Any], checkpoint: str | None) -> str:
    """Return the last lines of the log: the written files, and the next command.

    Args:
        path: Path of metrics.json.
        log_dir: Folder of the log and images of the run.
        cfg: The config.
        checkpoint: The final weights of training; None after a test.
    """
    lines = [f"wrote {path}"]
    pictures = [*sorted(path.parent.glob("*.png")), *Path(log_dir).glob("vis_data/vis_image")]
    lines += [f"    pictures:   {', '.join(map(str, pictures))}"] if pictures else []
    filename = getattr(cfg, "filename", None)
    if checkpoint:
        lines.append(f"    checkpoint: {checkpoint}")
        if filename:
            tested = bool(cfg.get("test_dataloader") or cfg.get("val_dataloader"))
            start = command("test" if tested else "predict")
            end = ["--show-dir" if tested else "--out", f"{path.parent}/pictures"]
            images = [] if tested else ["IMAGES"]
            rest = shlex.join([str(filename), str(checkpoint), *images, *end])  # paths may have spaces
            lines.append(f"    next:       {start} {rest}")
    return "\n".join(lines)


def logged_metrics(hub: MessageHub) -> dict[str, float]:
    """Return the last validation metrics, or training losses without validation, of a finished run from its log."""
    for prefix in ("val/", "train/loss"):
        found = {k.split("/", 1)[1]: float(v.current()) for k, v in hub.log_scalars.items() if k.startswith(prefix)}
        found = {k: v for k, v in found.items() if k not in ("time", "data_time")}
        if found:
            return found
    return {}


def _as_json(value: Any) -> Any:
    """Convert values that JSON does not support to strings."""
    if isinstance(value, Mapping):
        return {str(k): _as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(v) for v in value]
    if hasattr(value, "tolist"):
        return _as_json(value.tolist())
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
