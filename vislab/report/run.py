"""Read what a run has written to its work directory: curves, results, config, details and pictures."""

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vislab.errors import DataError

Curve = list[tuple[int, float]]


@dataclass(kw_only=True)
class Run:
    """Files of a run.

    Args:
        name: Name of the work directory.
        folder: The work directory.
        curves: (step, value) pairs by key.
        results: Content of metrics.json; empty if the run has not ended.
        details: Content of details.json (environment, split, evaluation); empty if there is none.
        config_text: Config of the last start as Python code; "" if there is none.
        config: Its values by dotted key.
        pictures: Drawn validation images, with labels and predictions, of the last validation.
    """

    name: str
    folder: Path
    curves: dict[str, Curve]
    results: dict[str, Any]
    details: dict[str, Any]
    config_text: str
    config: dict[str, Any]
    pictures: list[Path]


def read_run(folder: Path) -> Run:
    """Return the run in a work directory.

    Raises:
        DataError: The folder does not exist, or contains neither a log nor metrics.json.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a work directory: it does not exist")
    results, details = (read_json(folder / name) for name in ("metrics.json", "details.json"))
    try:
        curves = read_curves(folder)
    except DataError:
        if not results:
            raise DataError(f"{folder} contains neither a log nor metrics.json: it is not a work directory") from None
        curves = {}
    text, values = _read_config(folder)
    return Run(
        name=folder.resolve().name, folder=folder, curves=curves, results=results, details=details,
        config_text=text, config=values, pictures=_last_pictures(folder),
    )  # fmt: skip


def read_curves(path: Path) -> dict[str, Curve]:
    """Return (step, value) pairs by key, in increasing steps; a resumed run replaces repeated steps.

    Args:
        path: A work directory, or a scalars.json file.

    Raises:
        DataError: There is no log, or it is empty.
    """
    files = sorted(path.glob("*/vis_data/scalars.json")) + sorted(path.glob("vis_data/scalars.json"))
    files = [path] if path.is_file() else files
    if not files:
        raise DataError(f"{path} contains no log (expected {path}/<time>/vis_data/scalars.json)")
    merged: dict[str, dict[int, float]] = {}
    for file in files:  # named by their starting time
        part: dict[str, dict[int, float]] = {}
        for record in _read_lines(file):
            step = record.pop("step", record.pop("iter", None))
            if step is None:
                continue
            for key, value in record.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    part.setdefault(key, {})[int(step)] = float(value)
        for key, points in part.items():
            earlier = {s: v for s, v in merged.get(key, {}).items() if s < min(points)}
            merged[key] = earlier | points
    if not merged:
        raise DataError(f"{path}: the log is empty: the run stopped before its first log interval")
    return {key: sorted(points.items()) for key, points in merged.items()}


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    lines, wrong = file.read_text(errors="replace").splitlines(), []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):  # only the last line may be incomplete, after a killed run
                wrong.append(number)
            continue
        if isinstance(record, dict):
            yield record
    if wrong:
        others = f" (and {len(wrong) - 1} others)" if len(wrong) > 1 else ""
        print(f"warning: {file}, line {wrong[0]}{others} is not JSON and is skipped", file=sys.stderr)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if the file is missing or damaged, the latter with a warning."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError):
        content = None
    if isinstance(content, dict):
        return content
    print(f"warning: {path} is damaged and is left out", file=sys.stderr)
    return {}


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the config of the last start as text, and its values by dotted key."""
    files = sorted(folder.glob("*/vis_data/config.py"))
    if not files:
        return "", {}
    text = files[-1].read_text(errors="replace")
    try:
        return text, dict(_flatten(parse_config(text)))
    except (ValueError, SyntaxError) as error:
        print(f"warning: {files[-1]} is damaged ({error}); its values are not compared", file=sys.stderr)
        return text, {}


def parse_config(text: str) -> dict[str, Any]:
    """Return the values of a config that mmengine wrote: assignments of literals and `dict(...)`. No code is run.

    Raises:
        ValueError, SyntaxError: The text contains something else.
    """
    return {
        target.id: _literal(statement.value)
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        named = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
        return {key: value for part in node.args for key, value in _literal(part).items()} | named
    if isinstance(node, ast.Dict):
        return {str(ast.literal_eval(k)): _literal(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
            yield from _flatten({str(i): v for i, v in enumerate(value)}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _last_pictures(folder: Path) -> list[Path]:
    """Return the pictures of the validation with the highest step, `val_<number>_<step>.png`, by number."""
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/vis_data/vis_image/val_*_*.png")):
        name, _, step = path.stem.rpartition("_")
        if step.isdigit():
            found.setdefault(int(step), {})[name] = path  # of the last start
    return [path for _, path in sorted(found[max(found)].items())] if found else []


def differences(runs: list[Run]) -> list[tuple[str, list[str]]]:
    """Return the settings that differ between runs, (key, text of each run), without paths of the runs themselves."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    rows = []
    for key in keys:
        texts = [str(run.config[key]) if key in run.config else "-" for run in runs]
        if len(set(texts)) > 1 and key not in ("work_dir", "log_dir"):
            rows.append((key, texts))
    return rows
