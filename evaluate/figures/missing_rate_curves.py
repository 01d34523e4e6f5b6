"""Scores as features go missing: EMT-DLFR's Fig. 4 to 6, and one row modality by modality."""

from collections.abc import Sequence

import numpy as np

from ..results import Drawing, Report
from .canvas import INK, MODALITY_COLOURS, MODALITY_MARKERS, MUTED, PAPER, Canvas
from .row_style import row_styles

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
                curve, style = row.curves["all"][key], styles[row.name]
                colour = style.colour
                axes.plot(
                    curve.rates,
                    curve.values,
                    color=colour,
                    ls=style.line,
                    marker=style.marker,
                    ms=4.5,
                    mec=PAPER,
                    mew=0.5,
                    label=row.name,
                )
                low, high = _band(curve.values, curve.deviations)
                axes.fill_between(curve.rates, low, high, color=colour, alpha=0.1, lw=0)
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
            curve = curves[key]
            axes.plot(
                curve.rates,
                curve.values,
                color=MODALITY_COLOURS.get(of, whole.colour),
                ls=whole.line,
                marker=MODALITY_MARKERS.get(of, "o"),
                ms=4.5,
                mec=PAPER,
                mew=0.5,
                label="all" if of == "all" else f"only {of}",
            )
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
            ways = (
                (row.curves["all"][key], (0, (4, 2)), "o", "on whole data"),
                (row.incomplete[key], "-", "s", "on data as incomplete"),
            )
            for curve, dash, marker, label in ways:
                axes.plot(
                    curve.rates, curve.values, color=colour, ls=dash, marker=marker,
                    ms=4.5, mec=PAPER, mew=0.5, label=label,
                )  # fmt: skip
                low, high = _band(curve.values, curve.deviations)
                axes.fill_between(curve.rates, low, high, color=colour, alpha=0.12, lw=0)
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


def _band(values: Sequence[float], deviations: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs = list(zip(values, deviations, strict=True))
    return [v - d for v, d in pairs], [v + d for v, d in pairs]
