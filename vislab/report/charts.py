"""Curves and confusion matrices as SVG text that takes its colors from the page."""

import html
import io
import math
import re
from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#010203"  # replaced by currentColor, so that text and axes follow the light or dark page
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")  # for color-blind readers
MAX_POINTS = 400
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vislab",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 9,
}


def curve_chart(
    title: str, curves: Mapping[str, Sequence[tuple[int, float]]], colors: Mapping[str, str], unit: str = "step"
) -> str:
    """Return a chart with one line per run.

    A logarithmic axis is used for positive values over a factor of more than 20. Values that are not finite are
    left out.

    Args:
        title: Name of the metric.
        curves: (step, value) pairs by run.
        colors: Color by run.
        unit: What the steps are.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.subplots()
        values = []
        for name, curve in curves.items():
            points = [(step, value) for step, value in thin(curve) if math.isfinite(value)]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=colors[name],
                    linewidth=1.4,
                    marker="." if len(points) < 30 else None,
                )
                values += [value for _, value in points]
        if values and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.set(title=title, xlabel=unit)
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return to_svg(figure, title)


def thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most about MAX_POINTS points: the means of equal parts of the curve, and its last point."""
    size = math.ceil(len(curve) / MAX_POINTS)
    if size <= 1:
        return list(curve)
    parts = [curve[i : i + size] for i in range(0, len(curve), size)]
    means = [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
    return [*means[:-1], curve[-1]]


def confusion_chart(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix, rows are the true classes, colored by the share of the row."""
    side = min(2.2 + 0.32 * len(names), 9)
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    with rc_context(_STYLE):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        ticks = [i + 0.5 for i in range(len(names))]
        labels = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
        axes.set_xticks(ticks, labels=labels, rotation=90)
        axes.set_yticks(ticks, labels=labels)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        if len(names) <= 20:
            for i, row in enumerate(shares):
                for j, share in enumerate(row):
                    if share >= 0.005:
                        color = "white" if share > 0.5 else "black"
                        axes.text(
                            j + 0.5, i + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color
                        )
        return to_svg(figure, "confusion matrix")


def to_svg(figure: Figure, label: str) -> str:
    """Return a figure as an <svg> element without XML header, background and fixed size."""
    buffer = io.StringIO()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head = f'<svg role="img" aria-label="{html.escape(label)}" '
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', lambda found: head + found[1], text, count=1)
