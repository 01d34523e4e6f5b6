"""Scores as features go missing: EMT-DLFR's Fig. 4 to 6, and one row modality by modality."""

from typing import Any

import numpy as np

from ..analysis.missing_rates import Curve
from ..results import Drawing, Report
from .canvas import INK, MARKS, MODALITY_COLOURS, MODALITY_MARKERS, MUTED, Canvas
from .row_style import RowStyle, row_styles

MOST_ROWS, ABREAST = 12, 4


def robustness_figures(report: Report) -> tuple[Drawing, ...]:
    """Every row as all modalities lose frames, then the best row's modalities one by one."""
    found = (_all_rows(report), _one_row(report), _trained_both_ways(report))
    return tuple(figure for figure in found if figure is not None)


def _all_rows(report: Report) -> Drawing | None:
    rows = [r for r in report.robustness if "all" in r.curves][:MOST_ROWS]
    keys = [report.metrics.first, report.metrics.second]
    if not rows:
        return None
    title, styles = "When frames go missing", row_styles(report)
    if (rates := max(len(r.curves["all"][key].rates) for r in rows for key in keys)) < 2:
        why = f"Left out: scores at {rates} share of missing frames make no curve; see the table."
        return Drawing("robust-rows", title, why, "")
    with Canvas("robust-rows", 460 + 14 * len(rows), len(keys), sharex=True) as canvas:
        for axes, key in zip(canvas.panels, keys, strict=True):
            for row in rows:
                _curve(axes, row.curves["all"][key], styles[row.name], row.name)
            floor = report.baseline.test[key].mean
            if np.isfinite(floor):
                axes.axhline(floor, color=MUTED, lw=1, ls=(0, (4, 3)))
            axes.set_ylabel(key)
        canvas.panels[-1].set_xlabel("share of frames missing, all modalities")
        canvas.legend(3)
    more = len(report.robustness) - len(rows)
    return canvas.drawing(
        title,
        f"Test split, mean over seeds, band: spread. Dashed: the {report.metrics.floor}."
        + (f" {more} more rows are in the table." if more > 0 else ""),
    )


def _one_row(report: Report) -> Drawing | None:
    row = next((r for r in report.robustness if r.name == report.headline), None)
    if row is None or len(row.curves) < 2:
        return None
    key = report.metrics.first
    with Canvas("robust-modalities", 300) as canvas:
        axes = canvas.panels[0]
        whole = row_styles(report)[row.name]
        for of, curves in row.curves.items():
            colour = MODALITY_COLOURS.get(of, whole.colour)
            style = RowStyle(colour, whole.dashes, MODALITY_MARKERS.get(of, "o"))
            label = "all" if of == "all" else f"only {of}"
            _curve(axes, curves[key], style, label, band=False)
        axes.set_xlabel("share of frames missing")
        axes.set_ylabel(key)
        axes.legend(loc="lower left")
    return canvas.drawing(
        "Which modality is missed",
        f"{row.name}, test split, mean over seeds: frames of one modality missing, or of all. "
        "A steep line is a modality that the model leans on.",
    )


def _trained_both_ways(report: Report) -> Drawing | None:
    """Models trained on whole data beside those trained at each rate: EMT-DLFR's setting."""
    rows = [r for r in report.robustness if r.incomplete and "all" in r.curves][:MOST_ROWS]
    key, styles = report.metrics.first, row_styles(report)
    if not rows:
        return None
    count = len(rows)
    lines = -(-count // ABREAST)
    columns = -(-count // lines)
    with Canvas("robust-trained", 60 + 220 * lines, lines, columns, sharey=True) as canvas:
        for axes, row in zip(canvas.panels, rows, strict=False):
            colour = styles[row.name].colour
            whole = RowStyle(colour, (4, 2), "o")
            _curve(axes, row.curves["all"][key], whole, "on whole data")
            incomplete = RowStyle(colour, (), "s")
            _curve(axes, row.incomplete[key], incomplete, "on data as incomplete")
            axes.set_title(row.name, fontsize=10.5)
        for axes in canvas.panels[count:]:
            axes.set_visible(False)
        canvas.figure.supxlabel("share of frames missing", fontsize=11, color=INK)
        canvas.figure.supylabel(key, fontsize=11, color=INK)
        canvas.legend(2)
    more = sum(bool(r.incomplete) for r in report.robustness) - count
    return canvas.drawing(
        "Trained on whole and on incomplete data",
        "Test split, mean over seeds, band: spread. Each square is a model trained, picked and "
        "tested at that share; circles are one model, trained on whole clips."
        + (f" {more} more rows are in the table." if more > 0 else ""),
    )


def _curve(axes: Any, curve: Curve, style: RowStyle, label: str, band: bool = True) -> None:
    """A metric over the rates, with a `band` of its spread over seeds."""
    values, deviations = np.array(curve.values), np.array(curve.deviations)
    look = {"color": style.colour, "ls": style.line, "marker": style.marker, **MARKS}
    axes.plot(curve.rates, values, label=label, **look)
    if band:
        ends = values - deviations, values + deviations
        axes.fill_between(curve.rates, *ends, color=style.colour, alpha=0.1, lw=0)
