"""Write runs as one HTML file that needs no server, network or scripts."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader

from vislab import __version__
from vislab.errors import DataError
from vislab.io.atomic import write_text_atomically
from vislab.io.paths import usable_file
from vislab.report.charts import COLORS, confusion_chart, curve_chart
from vislab.report.run import Run, differences, read_run

MAX_BYTES = 2_000_000
MAX_CHARTS = 24
MAX_CLASSES = 300  # rows of a table by class
_TIMES = ("time", "data_time", "memory", "iter", "epoch", "step")
_QUALITIES = ((960, 80), (720, 70), (480, 60), (320, 50), (160, 40))  # width in pixels, quality of the pictures


def write_report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write a report of one or several runs.

    Pictures are reduced until the file has at most MAX_BYTES; if they still do not fit, they are left out.

    Args:
        folders: Work directories.
        out: Path of the HTML file.

    Returns:
        Path of the file.

    Raises:
        ConfigError: The file cannot be written.
        DataError: A folder is not a work directory, or two are the same.
    """
    out = Path(usable_file(out))
    runs = _named([read_run(Path(folder)) for folder in folders])
    page = {
        "title": ", ".join(run.name for run in runs),
        "version": __version__,
        "runs": [_facts(run, color) for run, color in _colors(runs)],
        "results": _results(runs),
        "charts": _charts(runs),
        "differences": differences(runs),
    }
    loader = PackageLoader("vislab.report")
    template = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("page.html.j2")
    for width, quality in (*_QUALITIES, (0, 0)):
        pictures = [_pictures(run, width, quality) for run in runs]
        text = template.render(**page, pictures=pictures)
        if len(text.encode()) <= MAX_BYTES:
            break
    write_text_atomically(text, out)
    return out


def _named(runs: list[Run]) -> list[Run]:
    """Give runs in folders of the same name different names."""
    folders = [run.folder.resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise DataError("the same work directory is given twice")
    names = [run.name for run in runs]
    for i, run in enumerate(runs):
        if names.count(run.name) > 1:
            run.name = f"{run.name} ({i + 1})"
    return runs


def _colors(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    return [(run, COLORS[i % len(COLORS)]) for i, run in enumerate(runs)]


def _facts(run: Run, color: str) -> dict[str, Any]:
    """Return the heading, environment, config and details of a run for the template."""
    steps = [step for curve in run.curves.values() for step, _ in curve]
    seconds = run.results.get("seconds")
    facts = {
        "config": run.results.get("config"),
        "checkpoint": run.results.get("checkpoint"),
        "duration": None if seconds is None else _duration(seconds),
        "steps": max(steps, default=None),
        "seconds per step": _mean(run.curves.get("time")),
    } | run.details.get("environment", {})
    return {
        "name": run.name,
        "color": color,
        "ended": bool(run.results),
        "facts": {key: value for key, value in facts.items() if value not in (None, "")},
        "config_text": run.config_text,
        "split": run.details.get("split", ""),
        "evaluation": [_evaluation(details) for details in run.details.get("evaluation", ())],
    }


def _evaluation(details: dict[str, Any]) -> dict[str, Any]:
    """Return the tables and the confusion matrix of one metric."""
    rows = details.get("classes") or []
    columns = list(rows[0]) if rows else []
    matrix = details.get("confusion")
    names = [row["class"] for row in rows]
    return {
        "metric": details["metric"],
        "columns": columns,
        "rows": [[_number(row.get(key)) for key in columns] for row in rows[:MAX_CLASSES]],
        "left_out": max(len(rows) - MAX_CLASSES, 0),
        "confusion": confusion_chart(names, matrix) if matrix and 1 < len(names) == len(matrix) else "",
        "confused": details.get("confused") or [],
    }


def _results(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Return a row per metric: its name and the value of each run; results of tests follow those of training."""
    columns = []
    for run in runs:
        values = {key: _number(value) for key, value in run.results.get("metrics", {}).items()}
        tests = [test for test in run.results.get("tests", ()) if test.get("metrics") != run.results.get("metrics")]
        for test in tests[-1:]:
            values |= {f"last test: {key}": _number(value) for key, value in test.get("metrics", {}).items()}
        columns.append(values)
    keys = dict.fromkeys(key for values in columns for key in values)
    return [(key, [values.get(key, "-") for values in columns]) for key in keys]


def _charts(runs: Sequence[Run]) -> list[str]:
    """Return the charts of all logged values, metrics of validations first, then losses, then the rest."""
    keys = dict.fromkeys(key for run in runs for key in run.curves if key.split("/")[-1] not in _TIMES)
    metrics = {key for run in runs for key in run.results.get("metrics", {})}
    ranks = {key: (key not in metrics, "loss" not in key, key in ("lr", "base_lr")) for key in keys}
    colors = {run.name: color for run, color in _colors(runs)}
    charts: list[str] = []
    drawn: list[dict] = []
    for key in sorted(keys, key=lambda k: ranks[k])[:MAX_CHARTS]:
        curves = {run.name: run.curves[key] for run in runs if key in run.curves}
        shown = key == "base_lr" and "lr" in keys or curves in drawn  # as a loss that is the only one
        if len({value for curve in curves.values() for _, value in curve}) > 1 and not shown:  # not a constant
            drawn.append(curves)
            units = sorted({_unit(run, key) for run in runs if key in run.curves})
            charts.append(curve_chart(key, curves, colors, unit=" or ".join(units)))
    return charts


def _unit(run: Run, key: str) -> str:
    """Return what the steps of a curve are: runs by epochs log their validations by epochs, and the rest by steps."""
    logged = {step for step, _ in run.curves.get("epoch", ())}
    return "epoch" if logged and not logged.issuperset(step for step, _ in run.curves[key]) else "step"


def _pictures(run: Run, width: int, quality: int) -> dict[str, list[dict[str, str]]]:
    """Return the sample predictions and the worst images of a run, with their captions."""
    samples = [
        {"data": _embed(path, width, quality), "caption": f"image {number}, step {path.stem.rpartition('_')[2]}"}
        for number, path in enumerate(run.pictures, 1)
    ]
    worst = []
    for details in run.details.get("evaluation", ()):
        for image in details.get("worst", ()):
            caption = f"{Path(image['image']).name}: {_number(image['score'])} ({details['score_name']})"
            path = run.folder / image["picture"] if image.get("picture") else None
            worst.append({"data": _embed(path, width, quality) if path else "", "caption": caption})
    return {"samples": [p for p in samples if p["data"]], "worst": worst}


def _embed(path: Path, width: int, quality: int) -> str:
    """Return an image as a data URL of at most `width` pixels; "" if it cannot be read, or for width 0."""
    image = cv2.imread(str(path)) if width and path.is_file() else None
    if image is None:
        return ""
    height, full = image.shape[:2]
    if full > width:
        image = cv2.resize(image, (width, max(round(height * width / full), 1)), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".webp", np.ascontiguousarray(image), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode()}" if done else ""


def _mean(curve: Sequence[tuple[int, float]] | None) -> str | None:
    return f"{sum(value for _, value in curve) / len(curve):.4g}" if curve else None


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
