"""Rows of the results table side by side: means, intervals and seeds."""

from typing import Any

import numpy as np

from ..results import Drawing, Report
from .canvas import MUTED, PAPER, Canvas
from .row_style import row_styles

MOST_ROWS = 24
INTERVAL: Any = {"lw": 2.4, "alpha": 0.45, "solid_capstyle": "round"}
SEED: Any = {"ls": "none", "marker": "|", "ms": 9, "mew": 1}
MEAN: Any = {"ms": 6.5, "mec": PAPER, "mew": 0.8}


def rows_figure(report: Report, key: str) -> Drawing | None:
    """Every row's mean over seeds, its interval, and each seed."""
    metric = report.metrics.metric(key)
    rows = [row for row in report.rows if np.isfinite(row.test[key].mean)]
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.test[key].mean, reverse=metric.higher)[:MOST_ROWS]
    styles = row_styles(report)
    with Canvas(f"rows-{key.lower()}", 64 + 24 * len(ordered)) as canvas:
        axes = canvas.panels[0]
        for place, row in enumerate(ordered):
            spread, style = row.test[key], styles[row.name]
            colour = style.colour
            if spread.low is not None and spread.high is not None:
                axes.plot([spread.low, spread.high], [place, place], color=colour, **INTERVAL)
            axes.plot(spread.values, [place] * len(spread.values), color=colour, **SEED)
            axes.plot([spread.mean], [place], marker=style.marker, color=colour, **MEAN)
        for number, own in enumerate(report.floors):
            value = own.test[key].mean
            if np.isfinite(value):
                axes.axvline(value, color=MUTED, lw=1, ls=((0, (4, 3)), (0, (1, 2)))[number])
                axes.annotate(
                    f" {own.name} ",
                    (value, 1),
                    (0, 12 * number),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="right" if not metric.higher else "left",
                    va="bottom",
                    color=MUTED,
                    fontsize=10,
                )
        axes.set_yticks(range(len(ordered)), [row.name for row in ordered])
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{key}, {'higher' if metric.higher else 'lower'} is better")
        if metric.percent:
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    shown = f" The best {len(ordered)} of {len(rows)} rows." if len(rows) > len(ordered) else ""
    bar = (
        f" Bars: 95 % bootstrap interval over test {report.drawn_over}."
        if report.provenance.resamples
        else ""
    )
    title = {"Corr": "Correlation with the labels", "MAE": "Mean absolute error"}.get(
        key,
        "Accuracy"
        if key == "Accuracy"
        else ", ".join(filter(None, (metric.label, metric.variant))),
    )
    return canvas.drawing(
        title,
        f"Test split. Marker: mean over seeds; ticks: each seed.{bar}{shown}",
    )
