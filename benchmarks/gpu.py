"""Time and peak memory on a GPU: this project, transformers, torch_tract and originals, in one table.

    python benchmarks/gpu.py                    # make bench-gpu; ends within --minutes (default 8)
    python benchmarks/gpu.py --quick            # tiny models, two settings, also on a CPU: shows that the script works
    python benchmarks/gpu.py --cases mask2former --batches 8 --dtypes bfloat16

Each case runs in float32 and under bfloat16 autocast, with 1 and 8 images, eager and compiled; parity of all candidates
in float32 comes first, and candidates that differ are not timed. `forward` is without gradients, `step` is forward,
losses and backward. Times are medians of interleaved rounds. What did not run is listed with the reason.
"""

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _common

PARITY = 1e-3  # largest difference relative to the largest value, float32 with TF32 off
REPOSITORY = Path(__file__).resolve().parents[1]


class Report:
    """Rows of the table, parity lines, and what did not run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.parity: list[str] = []
        self.missing: list[str] = []

    def lacks(self, what: str, why: object) -> None:
        text = (str(why).strip().splitlines() or [""])[0][:160]
        self.missing.append(f"{what}: {text}" if isinstance(why, str) else f"{what}: {type(why).__name__}: {text}")
        print(f"not run: {self.missing[-1]}", flush=True)

    def text(self) -> str:
        parts = ["\n".join(f"- parity {line}" for line in self.parity), _common.format_table(self.rows)]
        parts.append("Not run:\n\n" + "\n".join(f"- {x}" for x in self.missing) if self.missing else "All cases ran.")
        return "\n\n".join(parts)


def measure(
    name: str, case: Callable, device: Any, settings: Sequence[tuple], report: Report, *, small: bool, end: float
) -> None:
    """Measure a case in all settings (batch, dtype, compiled), and add the rows to the report."""
    from _gpu_cases import Missing

    for batch, group in itertools.groupby(settings, key=lambda s: s[0]):
        what = f"{name}, batch {batch}"
        if time.monotonic() > end:
            report.lacks(what, "the time given by --minutes was over")
            continue
        try:
            candidates = case(device, batch, small)
            chosen = compare(what, candidates, report)
        except Missing as why:
            report.lacks(what, str(why))
            continue
        except Exception as why:  # of any kind: out of memory, an operation that the device lacks
            report.lacks(what, why)
            continue
        for _, dtype, compiled in group:
            label = f"{what}, {dtype}, {'compiled' if compiled else 'eager'}"
            if time.monotonic() > end:
                report.lacks(label, "the time given by --minutes was over")
                continue
            try:
                if compiled:
                    compile_all(chosen, device)
                report.rows += timed(name, chosen, device, (batch, dtype, compiled), small, report)
            except Exception as why:
                report.lacks(label, why)
            for one in chosen.values():
                undo_compilation(one.model)


def compare(what: str, candidates: dict, report: Report) -> dict:
    """Compare the outputs of all candidates with the first one in float32; returns those that agree."""
    import torch

    with torch.no_grad():
        outputs = {key: one.output().float() for key, one in candidates.items()}
    first = next(iter(outputs.values()))
    chosen = {}
    for key, output in outputs.items():
        difference = float((output - first).abs().max() / first.abs().max().clamp(min=1e-30))
        if difference <= PARITY:
            chosen[key] = candidates[key]
        else:
            report.lacks(f"{what}, {key}", f"its output differs by {difference:.1e}")
        if len(outputs) > 1 and output is not first:
            report.parity.append(f"{what}: {key} differs by {difference:.1e}")
            print(f"parity {report.parity[-1]}", flush=True)
    return chosen


def compile_all(candidates: dict, device: Any) -> None:
    from vislab.engine.compilation import compile_networks

    backend = "inductor" if device.type == "cuda" else "eager"  # a CPU need not have a compiler
    for key, one in candidates.items():
        if key == "vislab":
            compile_networks(one.model, {"backend": backend})
        else:
            one.model.compile(backend=backend)


def undo_compilation(model: Any) -> None:
    for module in model.modules():
        module._compiled_call_impl = None


def timed(
    name: str, candidates: dict, device: Any, setting: tuple, small: bool, report: Report
) -> list[dict[str, Any]]:
    """Return a row for each candidate; one that fails is reported, and the others are measured."""
    import torch

    batch, dtype, compiled = setting
    on_gpu = device.type == "cuda"

    def context():
        return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")

    def forward(one: Any) -> None:
        with torch.no_grad(), context():
            one.output()
        wait()

    def step(one: Any) -> None:
        one.model.zero_grad(set_to_none=True)
        with context():
            loss = one.loss()
        loss.float().backward()
        wait()

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(device)

    running = {}
    for key, one in candidates.items():
        try:
            forward(one)
            step(one)
            running[key] = one
        except Exception as why:
            mode = "compiled" if compiled else "eager"
            report.lacks(f"{name}, batch {batch}, {dtype}, {mode}, {key}", why)
    candidates, rows, found = running, [], {}
    if not candidates:
        return rows
    for kind, function in (("forward", forward), ("step", step)):
        runs = {key: lambda one=one, f=function: f(one) for key, one in candidates.items()}
        pairs, warmup = (1, 0) if small else (7, 2)  # each has run once above
        found[kind] = _common.interleave(runs, pairs=pairs, warmup=warmup)
    base = next(iter(candidates))
    for key, one in candidates.items():
        memory = "not measured"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            step(one)
            memory = f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:.0f}"
        row = {
            "case": name, "candidate": key, "device": device_name(device), "dtype": dtype, "batch": batch,
            "mode": "compiled" if compiled else "eager",
        }  # fmt: skip
        for kind, times in found.items():
            row[f"{kind} ms"] = f"{statistics.median(times[key]['wall']) * 1e3:.2f}"
            row[f"{kind} ratio"] = f"{_common.ratio(times[key]['wall'], times[base]['wall']):.2f}"
        rows.append(row | {"peak MiB of a step": memory})
        print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    return rows


def device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def settings_of(args: Any) -> list[tuple]:
    """Return (batch, dtype, compiled) of all rows; without options, `--quick` has two that cover all values."""
    if args.quick and not (args.batches or args.dtypes or args.modes):
        return [(2, "float32", False), (1, "bfloat16", True)]
    batches, dtypes = args.batches or [1, 8], args.dtypes or ["float32", "bfloat16"]
    return [(b, d, m == "compiled") for b in batches for d in dtypes for m in args.modes or ["eager", "compiled"]]


def main() -> None:
    sys.path.insert(0, str(REPOSITORY))
    import torch
    from _gpu_cases import CASES

    parser = _common.parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--batches", nargs="+", type=int, help="default 1 8")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], help="default both")
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], help="default both")
    parser.add_argument("--minutes", type=float, default=8.0, help="what has not run by then is listed (default 8)")
    args = parser.parse_args()
    if not torch.cuda.is_available() and not args.quick:
        sys.exit("error: torch finds no GPU; `--quick` tries the script on the CPU with tiny models")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    settings = settings_of(args)
    report, end = Report(), time.monotonic() + 60 * args.minutes
    if device.type == "cpu":
        report.lacks("peak memory", "it is measured on a GPU only")
    if "cae" in args.cases:
        report.lacks("cae against its original", "benchmarks/cae_step.py compares them, on the CPU")
    if "hnerv" in args.cases and not os.environ.get("HNERV_REPO"):
        report.lacks("hnerv against its original", "set HNERV_REPO to a checkout of haochen-rye/HNeRV")
    for name in args.cases:
        measure(name, CASES[name], device, settings, report, small=args.quick, end=end)
    print(report.text(), flush=True)
    if not args.no_record:
        _common.record(report.text(), args.quick)
    _common.result(device=device.type, rows=len(report.rows), not_run=len(report.missing))


if __name__ == "__main__":
    main()
