"""Shared functions of the benchmark scripts: interleaved timing, peak memory, tables and records of results.

A script parses `--quick`, prints a parity check if it compares with another implementation, measures with `interleave`,
prints with `print_table`, adds to results.jsonl and RESULTS.md with `record`, and ends with `result(...)`. Ratios of
medians over interleaved rounds and CPU times are reliable on shared machines, unlike absolute wall times.

Scripts in this folder use `import _common`, since their own folder is first on the path.
"""

import argparse
import datetime
import gc
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import _results

VERSIONS_OF = ("torch", "mmengine", "timm")

Timings = dict[str, dict[str, list[float]]]


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the common arguments `--quick` (at most two minutes), `--threads` and `--no-record`."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="at most two minutes, smaller sizes")
    p.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    p.add_argument("--no-record", action="store_true", help="do not add to benchmarks/results.jsonl")
    return p


def interleave(fns: dict[str, Callable[[], object]], pairs: int = 7, warmup: int = 3) -> Timings:
    """Time functions alternately, so that changes in the load of the machine affect all of them.

    Args:
        fns: Name -> function without arguments; a GPU function must synchronize before it returns.
        pairs: Timed rounds, each calling every function once. The order is reversed after each round.
        warmup: Number of untimed rounds.

    Returns:
        Name -> {"wall": [seconds], "cpu": [seconds of this process, all threads]}, one entry per round.
    """
    for _ in range(warmup):
        for fn in fns.values():
            fn()
    times: Timings = {name: {"wall": [], "cpu": []} for name in fns}
    names = list(fns)
    gc.collect()
    for _ in range(pairs):
        for name in names:
            wall, cpu = time.perf_counter(), time.process_time()
            fns[name]()
            times[name]["cpu"].append(time.process_time() - cpu)
            times[name]["wall"].append(time.perf_counter() - wall)
        names.reverse()
    return times


def ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the median of `a` divided by the median of `b`; below 1, `a` is faster."""
    return statistics.median(a) / statistics.median(b)


def spread(values: Sequence[float]) -> float:
    """Return half the interquartile range relative to the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else 0.0


def peak_rss(cmd: Sequence[str], **kwargs) -> float:
    """Return the peak resident memory of a command and its children in MiB. `kwargs` are passed to subprocess.run.

    Raises:
        RuntimeError: The command failed; the message has its last error lines.
    """
    # RUSAGE_CHILDREN includes all children of a process, so it is read in a separate process.
    code = (
        "import resource, subprocess, sys; rc = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(rc)"
    )
    done = subprocess.run([sys.executable, "-c", code, *cmd], capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(cmd)} ended with status {done.returncode}: {done.stderr[-500:]}")
    scale = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return int(done.stdout.split()[-1]) * scale / 2**20


def timing_row(name: str, times: dict[str, list[float]], base: dict[str, list[float]] | None = None) -> dict[str, str]:
    """Return a table row of one function: median wall and CPU time in ms, spread, and both ratios to `base`."""
    row = {
        "what": name,
        "wall ms": f"{statistics.median(times['wall']) * 1e3:.2f}",
        "cpu ms": f"{statistics.median(times['cpu']) * 1e3:.2f}",
        "spread": f"{spread(times['wall']):.1%}",
    }
    if base is not None:
        row["wall ratio"] = f"{ratio(times['wall'], base['wall']):.3f}"
        row["cpu ratio"] = f"{ratio(times['cpu'], base['cpu']):.3f}"
    return row


def format_table(rows: Sequence[dict[str, object]]) -> str:
    """Format rows, which may have different keys, as an aligned Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [[str(row.get(c, "")) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def print_table(rows: Sequence[dict[str, object]]) -> str:
    """Print `format_table(rows)` and return it."""
    table = format_table(rows)
    print(table, flush=True)
    return table


def conditions() -> str:
    """Return date, versions, processor count, threads and load average in one line."""
    versions = []
    for name in VERSIONS_OF:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    torch = sys.modules.get("torch")
    threads = f", {torch.get_num_threads()} torch threads" if torch else ""
    load = " ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{datetime.date.today().isoformat()}, Python {platform.python_version()}, {', '.join(versions)}, "
        f"{os.cpu_count()} CPUs{threads}, load {load}"
    )


def _public_options(words: Sequence[str]) -> str:
    """Return the options of a script for its record, without those that name places on this computer."""
    kept: list[str] = []
    for word in words:
        if os.path.isabs(word):
            kept = kept[:-1] if kept and kept[-1].startswith("--") else kept
        elif word not in ("--quick", "--no-record") and not os.path.isabs(word.partition("=")[2]):
            kept.append(word)
    return " ".join(kept)


_recorded: list[Path] = []  # the history of this process, for `result`


def record(table: str, quick: bool, path: Path = _results.HISTORY) -> None:
    """Add `table` to the history with the name and options of the script, date, versions and load.

    Args:
        table: The printed table, which may follow a parity line.
        quick: Whether the script was run with `--quick`.
        path: Path of the history; RESULTS.md stands next to it.
    """
    options = _public_options(sys.argv[1:])
    _results.append(
        {
            "script": Path(sys.argv[0]).stem, "quick": quick, "options": options, "conditions": conditions(),
            "text": table, "values": {},
        },
        path,
    )  # fmt: skip
    _recorded.append(path)


def skip(needs: str) -> NoReturn:
    """Exit with status 0 because a requirement is missing, which `needs` describes."""
    print(f"skipped: {needs}", flush=True)
    result(skipped=1)
    sys.exit(0)


def result(**values: object) -> str:
    """Print the script's last line, `RESULT key=value key=value ...`, and return it; floats get 4 digits.

    The values are added to the record of this process, if it wrote one.
    """
    bad = [key for key, value in values.items() if " " in str(value)]
    if bad:
        raise ValueError(f"a RESULT value contains a space: {bad[0]}={values[bad[0]]!r}; the line is split at spaces")
    line = "RESULT " + " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
    print(line, flush=True)
    if _recorded:
        shown = {k: v if isinstance(v, (int, float, str)) else str(v) for k, v in values.items()}
        _results.amend(shown, _recorded.pop())
    return line
