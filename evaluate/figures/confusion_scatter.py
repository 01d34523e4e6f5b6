"""How well predictions fit the labels: score against score, class against class."""

import numpy as np

from ..analysis.analysis import RowFit
from ..results import Drawing, Report
from .canvas import ACCENT, ALONE, INK, MARKS, MODALITY_COLOURS, MUTED, Canvas

MOST_POINTS, FEW = 1500, 400
"""Of the row that is shown first, and of each that a reader may choose."""
MOST_ROWS = 12
FEWEST = 8
"""Clips below which a cloud of them shows no relation."""


def scatter_figures(report: Report) -> tuple[Drawing, ...]:
    """Label against prediction, a figure a row; none for classes."""
    if report.metrics.of_classes:
        return ()
    fits = report.analyses.fits[:MOST_ROWS]
    found = (_scatter(report, fit, MOST_POINTS if not n else FEW) for n, fit in enumerate(fits))
    return tuple(figure for figure in found if figure is not None)


def confusion_figures(report: Report) -> tuple[Drawing, ...]:
    """Labelled against predicted class, a figure a row."""
    fits = report.analyses.fits[:MOST_ROWS]
    return tuple(_confusion(report, fit) for fit in fits if fit.confusion.sum())


def _scatter(report: Report, found: RowFit, most: int) -> Drawing | None:
    """At most about `most` points, with the mean label by predicted score."""
    protocol = report.metrics
    known = np.isfinite(found.predictions) & np.isfinite(found.labels)
    x, y = found.predictions[known], found.labels[known]
    if not x.size:
        return None
    key, title = _key("scatter", report, found), "Label and prediction"
    if x.size < FEWEST:
        why = f"Left out: {x.size} test clips with a score are too few to see a relation."
        return Drawing(key, title, why, "", row=found.name)
    step = -(-x.size // most)
    with Canvas(key, 400) as canvas:
        axes = canvas.panels[0]
        ends = [protocol.low, protocol.high]
        room = 0.05 * (protocol.high - protocol.low)
        axes.plot(ends, ends, color=MUTED, lw=1, ls=(0, (4, 3)))
        cloud = {**ALONE, "mec": "none", "alpha": 0.55}
        axes.plot(x[::step], y[::step], marker="o", color=MODALITY_COLOURS["text"], **cloud)
        if len(found.calibration) > 1:
            axes.plot(*found.calibration.T[:2], color=ACCENT, marker="D", lw=1.4, **MARKS)
        axes.set_xlim(min(protocol.low, x.min()) - room, max(protocol.high, x.max()) + room)
        axes.set_ylim(protocol.low - room, protocol.high + room)
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
    drawn = f" {x[::step].size} of {x.size} clips are drawn." if step > 1 else ""
    return canvas.drawing(
        title,
        f"{found.name}, every test clip, mean over seeds.{drawn} Diamonds: mean label of clips "
        "with about this prediction; on the dashed line the scores mean what they say.",
        found.name,
    )


def _confusion(report: Report, found: RowFit) -> Drawing:
    """Shade and number are the share of the row."""
    table = found.confusion
    names = [
        name.replace("-", "\N{MINUS SIGN}").replace("<=", "\N{LESS-THAN OR EQUAL TO}")
        for name in report.metrics.bins
    ]
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    with Canvas(_key("confusion", report, found), 400) as canvas:
        axes = canvas.panels[0]
        truths, guesses = (axis.ravel() for axis in np.indices(table.shape))
        # pale enough for numbers in ink, on white and on black
        shades = [(MODALITY_COLOURS["text"], 0.06 + 0.5 * float(share)) for share in shares.ravel()]
        axes.bar(guesses, 0.94, 0.96, truths - 0.47, color=shades, lw=0)
        for truth, guess in np.argwhere(table):
            text = f"{100 * shares[truth, guess]:.0f}"
            axes.text(guess, truth, text, ha="center", va="center", color=INK)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(
            range(len(names)),
            [f"{name}   (n = {int(n)})" for name, n in zip(names, totals[:, 0], strict=True)],
        )
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(-0.5, len(names) - 0.5)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("labelled class  (clips \N{MULTIPLICATION SIGN} seeds)")
    return canvas.drawing(
        "Confusion of classes",
        f"{found.name}, test clips of all seeds. Each number: percent of the clips "
        "with this label, a row adds up to 100.",
        found.name,
    )


def _key(kind: str, report: Report, found: RowFit) -> str:
    """``scatter`` of the row that stands for all, ``scatter-2`` of the second in rank."""
    names = [fit.name for fit in report.analyses.fits]
    place = names.index(found.name)
    return f"{kind}-{place + 1}" if place else kind
