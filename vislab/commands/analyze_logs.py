"""Compare the logs of runs: a table of metrics, mean step times, and curves.

    vislab analyze-logs work_dirs/a work_dirs/b                       # table of last and best values
    vislab analyze-logs work_dirs/a work_dirs/b --keys loss psnr --out curves.png
    vislab analyze-logs work_dirs/a --steps 100:                      # step time without the first 100 steps

A run is a work directory (with all logs, including resumed parts) or a scalars.json file.
"""

import argparse
import math
from pathlib import Path

from vislab.errors import DataError, nearest
from vislab.report.run import Curve, read_curves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directory or scalars.json")
    parser.add_argument("--keys", nargs="+", metavar="KEY", help="metrics to show (default: all but times and memory)")
    parser.add_argument("--out", metavar="F", help="draw the curves to this file (.png, .svg, .pdf)")
    parser.add_argument("--legend", nargs="+", metavar="NAME", help="one name per run (default: its folder)")
    parser.add_argument("--steps", default=":", metavar="FROM:TO", help="only these steps, without TO")
    parser.add_argument("--log-scale", action="store_true", help="logarithmic value axis")


def main(args: argparse.Namespace) -> None:
    from vislab.io.paths import usable_file

    names = args.legend or [_run_name(path) for path in args.runs]
    if len(names) != len(args.runs):
        raise DataError(f"--legend has {len(names)} names for {len(args.runs)} runs")
    low, high = _parse_range(args.steps)
    out = args.out and usable_file(args.out, (".png", ".svg", ".pdf"))
    runs = {}
    for name, path in zip(names, args.runs, strict=True):
        curves = read_curves(Path(path))
        cut = {key: [point for point in curve if low <= point[0] < high] for key, curve in curves.items()}
        runs[name if name not in runs else f"{name} ({len(runs)})"] = {k: c for k, c in cut.items() if c}
    known = sorted({key for curves in runs.values() for key in curves})
    if not known:
        raise DataError(f"no run has a value in --steps {args.steps}")
    keys = args.keys or [k for k in known if k.split("/")[-1] not in ("time", "data_time", "memory", "iter", "epoch")]
    for key in keys:
        if key not in known:
            close = nearest(key, known)
            raise DataError(f"no run logs {key!r}; " + (f"did you mean {close[0]!r}?" if close else f"known: {known}"))
    print(table(runs, keys))
    if out:
        draw(runs, keys, Path(out), log_scale=args.log_scale)
        print(f"curves: {args.out}")


def table(runs: dict[str, dict[str, Curve]], keys: list[str]) -> str:
    """Return a table with last, minimum and maximum value per run and key, and a table of mean step times per run."""
    rows = [["run", "key", "points", "last step", "last", "min", "at", "max", "at"]]
    for name, curves in runs.items():
        for key in keys:
            curve = curves.get(key)
            if not curve:
                continue
            finite = [point for point in curve if math.isfinite(point[1])] or curve
            low, high = min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])
            values = [len(curve), curve[-1][0], _short(curve[-1][1]), _short(low[1]), low[0], _short(high[1]), high[0]]
            rows.append([name, key, *map(str, values)])
    text = _align(rows)
    times = [["run", "step ms", "waiting for data"]]
    for name, curves in runs.items():
        if curves.get("time"):
            step, wait = _mean(curves["time"]), _mean(curves.get("data_time", []))
            times.append([name, f"{step * 1e3:.2f}", f"{wait / step:.1%}" if step else "-"])
    return text if len(times) == 1 else f"{text}\n\n{_align(times)}"


def draw(runs: dict[str, dict[str, Curve]], keys: list[str], out: Path, *, log_scale: bool = False) -> None:
    """Draw one panel per key with one line per run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(len(keys), 3)
    rows = math.ceil(len(keys) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.5 * rows), squeeze=False, layout="constrained")
    for axis, key in zip(axes.flat, keys, strict=False):
        for name, curves in runs.items():
            if key in curves:
                steps, values = zip(*curves[key], strict=True)
                axis.plot(steps, values, label=name, marker="." if len(steps) < 30 else None, linewidth=1.2)
        axis.set(title=key, xlabel="step", yscale="log" if log_scale else "linear")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    for axis in axes.flat[len(keys) :]:
        axis.set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _run_name(path: str) -> str:
    parts = Path(path).absolute()
    return parts.name if parts.suffix != ".json" else parts.parents[2].name


def _parse_range(text: str) -> tuple[float, float]:
    try:
        low, high = text.split(":")
        return float(low or 0), float(high or math.inf)
    except ValueError:
        raise DataError(f"--steps {text!r} is not of the form FROM:TO, e.g. 100:") from None


def _mean(curve: Curve) -> float:
    return sum(value for _, value in curve) / len(curve) if curve else 0.0


def _short(value: float) -> str:
    return f"{value:.5g}"


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
