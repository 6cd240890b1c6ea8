"""Tables, curves and images of timesnet_decoder.py from its stored runs."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from _timesnet_runs import LOWER_IS_BETTER, TASKS, VARIANTS, predictions_file

from vislab.datasets.semantic_classes import CAMVID_PALETTE
from vislab.visualization import draw

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Rates = tuple[float, float]  # learning rate of new layers, factor for the output layers
COMPARISONS = (  # (row, the row it is compared with)
    ("pre-trained x multiply", "random x multiply"),
    ("pre-trained x image", "random x image"),
    ("pre-trained x feature", "random x feature"),
    ("pre-trained x multiply", "pre-trained x image"),
    ("pre-trained x multiply", "FPN"),
    ("pre-trained x image", "FPN"),
)


def rates_of(run: dict) -> Rates:
    """Return the learning rate of new layers and the factor for the output layers of a run."""
    return run["lr"], run["output_mult"]


def choose_rates(tuning: Sequence[dict], task: str, variant: str) -> Rates:
    """Return the rates whose tuning run of this row ended with the best value of the task's first metric."""
    metric = TASKS[task][0]
    mine = [r for r in tuning if (r["task"], r["variant"]) == (task, variant)]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return rates_of(min(mine, key=lambda r: sign * r["history"][-1][metric]))


def tuning_table(tuning: Sequence[dict], task: str, grid: Iterable[Rates]) -> list[dict[str, object]]:
    """Return rows with the first metric at the end of each tuning run; the selected one is bold."""
    metric, rows = TASKS[task][0], []
    for variant in VARIANTS:
        found = {rates_of(r): r["history"][-1][metric] for r in tuning if (r["task"], r["variant"]) == (task, variant)}
        chosen = choose_rates(tuning, task, variant)
        row: dict[str, object] = {f"{task} {metric}, held-out training images": variant}
        for rates in grid:
            value = f"{found[rates]:.4g}"
            row[f"lr {rates[0]:g}, outputs x {rates[1]:g}"] = f"**{value}**" if rates == chosen else value
        rows.append(row)
    return rows


def result_table(runs: Sequence[dict]) -> list[dict[str, object]]:
    """Return rows with mean and standard deviation over seeds of all metrics, CPU seconds, and learning rates."""
    rows = []
    for variant in VARIANTS:
        row: dict[str, object] = {"decoder x mix": variant}
        for task, names in TASKS.items():
            mine = [r for r in runs if (r["task"], r["variant"]) == (task, variant)]
            for name in names if mine else ():
                row[f"{task} {name}"] = _mean_and_sd([r["history"][-1][name] for r in mine])
            if mine:
                row[f"{task} rates"] = "{:g} x {:g}".format(*rates_of(mine[0]))
        seconds = [r["cpu"] for r in runs if r["variant"] == variant]
        row["cpu s a run"] = f"{statistics.mean(seconds):.0f}" if seconds else ""
        rows.append(row)
    return rows


def difference_table(runs: Sequence[dict]) -> list[dict[str, object]]:
    """Return rows with mean and standard deviation of paired differences between two variants."""
    rows = []
    for first, second in COMPARISONS:
        row: dict[str, object] = {"difference at equal seeds": f"{first} - {second}"}
        for task, (metric, *_) in TASKS.items():
            a, b = (
                {r["seed"]: r["history"][-1][metric] for r in runs if (r["task"], r["variant"]) == (task, variant)}
                for variant in (first, second)
            )
            differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
            if differences:
                ahead = sum((d < 0) == (metric in LOWER_IS_BETTER) and d != 0 for d in differences)
                row[f"{task} {metric}"] = _mean_and_sd(differences)
                row[f"{task}: better in"] = f"{ahead} of {len(differences)} seeds"
        rows.append(row)
    return rows


def _mean_and_sd(values: Sequence[float]) -> str:
    spread = f" +- {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


def draw_curves(runs: Sequence[dict], path: Path) -> None:
    """Draw mean and range over seeds of each task's first metric against the step."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for axis, (task, names) in zip(axes, TASKS.items(), strict=True):
        for k, variant in enumerate(VARIANTS):
            mine = [r for r in runs if (r["task"], r["variant"]) == (task, variant)]
            if not mine:
                continue
            steps = [h["step"] for h in mine[0]["history"]]
            values = [[h[names[0]] for h in r["history"]] for r in mine]
            low, high = (list(map(f, zip(*values, strict=True))) for f in (min, max))
            mean = [statistics.mean(v) for v in zip(*values, strict=True)]
            style = "--" if variant.startswith("random") else ":" if variant == "FPN" else "-"
            (line,) = axis.plot(steps, mean, style, color=f"C{k % 3}" if variant != "FPN" else "k", label=variant)
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(xlabel="step", ylabel=names[0], title=task)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_sheet(task: str, path: Path) -> None:
    """Draw three rows with image, label and the stored predictions of all variants."""
    files = {variant: predictions_file(task, variant) for variant in VARIANTS}
    found = {variant: np.load(file) for variant, file in files.items() if file.exists()}
    if not found:
        return
    palette = np.array([*CAMVID_PALETTE, *[(0, 0, 0)] * 245], np.uint8)
    first = next(iter(found.values()))
    rows = []
    for i in range(len(first["images"])):
        limits = draw.depth_limits(first["labels"][i]) if task == "kitchen" else None
        paint = lambda m, limits=limits: draw.draw_depth(m, limits) if task == "kitchen" else palette[m]
        cells = [("image", first["images"][i]), ("label", paint(first["labels"][i]))]
        cells += [(variant, paint(data["predictions"][i])) for variant, data in found.items()]
        rows.append([(title, cv2.resize(np.ascontiguousarray(cell), (192, 144))) for title, cell in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw.tile(rows)[..., ::-1])
