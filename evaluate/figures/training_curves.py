"""Courses: losses and generated labels over epochs, predictions along a video."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cache.runs import Epoch, Run
from ...cache.spec import LETTERS, MODALITIES
from ..results import Drawing, Report
from .canvas import INK, MARKS, MODALITY_COLOURS, MUTED, PAPER, Canvas
from .row_style import RowStyle, row_styles

MOST_TRACKS = 4
ABREAST = 4
"""Panels in a line."""
TRAINING: Any = {"ls": (0, (1, 1.5)), "lw": 1.1}
CHOSEN: Any = {"ls": "none", "marker": "o", "ms": 6, "mec": PAPER, "mew": 0.8}


def training_figure(report: Report) -> Drawing | None:
    """Training and validation loss by epoch, a line a seed, the chosen epochs marked.

    A panel a model: the headline row, then a row of each other model, that of most modalities.
    """
    rows = {report.best.model: report.headline}
    for row in sorted(report.rows, key=lambda row: -len(row.letters)):
        rows.setdefault(row.model, row.name)
    histories = {
        name: own
        for name in rows.values()
        if (own := [h for h in report.analyses.histories[name] if h])
    }
    if not histories:
        return None
    count, styles = len(histories), row_styles(report)
    lines = -(-count // ABREAST)
    columns = -(-count // lines)
    with Canvas("training", 300 if count == 1 else 60 + 210 * lines, lines, columns) as canvas:
        for axes, (name, own) in zip(canvas.panels, histories.items(), strict=False):
            for history, best in zip(own, report.analyses.best_epochs[name], strict=False):
                _losses(axes, history, best, styles[name])
            axes.set_title(name, fontsize=10.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in canvas.panels[count:]:
            axes.set_visible(False)
        canvas.figure.supxlabel("epoch", fontsize=11, color=INK)
        canvas.figure.supylabel("loss", fontsize=11, color=INK)
        kinds = {"training": TRAINING, "validation": {"ls": "-", "lw": 1.6}, "chosen epoch": CHOSEN}
        handles = [canvas.panels[0].plot([], [], color=MUTED, **kind)[0] for kind in kinds.values()]
        canvas.figure.legend(handles, list(kinds), loc="outside upper left", ncols=3)
    title = "" if count > 1 else f"{report.headline}. "
    of_models = ", a panel a model" if count > 1 else ""
    return canvas.drawing(
        "Training",
        f"{title}A line a seed{of_models}. Training losses hold all terms "
        "of a model, validation losses the task's alone. The chosen epoch is best in "
        f"{report.provenance.criterion}; test is scored there only.",
    )


def _losses(axes: Any, history: Sequence[Epoch], best: int, style: RowStyle) -> None:
    epochs = [line.epoch for line in history]
    axes.plot(epochs, [h.train_loss for h in history], color=MUTED, **TRAINING)
    axes.plot(
        epochs, [h.valid_loss for h in history], color=style.colour, ls=style.line, lw=1.4
    )  # fmt: skip
    chosen = [h.valid_loss for h in history if h.epoch == best]
    axes.plot([best] * len(chosen), chosen, color=style.colour, **CHOSEN)


def video_figure(report: Report) -> Drawing | None:
    """Labels and predictions along the longest test video."""
    track = report.analyses.video
    if track is None:
        return None
    names, styles = _companions(report, list(track.tracks)), row_styles(report)
    with Canvas("video", 300) as canvas:
        axes = canvas.panels[0]
        clips = np.arange(1, track.labels.size + 1)
        axes.plot(
            clips, track.labels, color=MUTED, alpha=0.4, lw=5, solid_capstyle="round", label="label"
        )
        for name in names:
            style = styles[name]
            axes.plot(
                clips,
                track.tracks[name],
                color=style.colour,
                ls=style.line,
                marker=style.marker,
                lw=1.8 if name == report.headline else 1,
                label=name,
                **MARKS,
            )
        axes.set_xlabel("clip of the video")
        axes.set_ylabel("score")
        axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.legend(min(len(names) + 1, 5))
    return canvas.drawing(
        "Along one video",
        f"The test video with most clips ({track.video}): labels and predictions, mean over "
        "seeds. A flat line over a moving label means that the model hears or sees who speaks, "
        "not how.",
    )


def _companions(report: Report, names: Sequence[str]) -> list[str]:
    """The headline row and a single modality each, of its own model where that has been trained."""
    kept = [report.headline]
    for letter in LETTERS.values():
        alone = [row.name for row in report.rows if row.letters == letter]
        own = f"{report.best.model} {letter}"
        kept += [own] if own in alone else alone[:1]
    return [name for name in dict.fromkeys(kept) if name in names][:MOST_TRACKS]


def trajectory_figure(run: Run) -> Drawing | None:
    """How the labels that a model generates for each modality spread out (SUGRM, Fig. 4)."""
    trails = {
        m: rows
        for m in MODALITIES
        if (rows := run.outputs.get(f"label_quantiles_{m}")) is not None
        and rows.ndim == 2
        and rows.shape[1] == 5
        and len(rows) > 1
    }
    if not trails:
        return None
    with Canvas("trajectory", 70 + 110 * len(trails), len(trails), sharex=True) as canvas:
        for axes, (modality, rows) in zip(canvas.panels, trails.items(), strict=True):
            epochs, colour = np.arange(1, len(rows) + 1), MODALITY_COLOURS[modality]
            axes.fill_between(epochs, rows[:, 0], rows[:, 4], color=colour, alpha=0.12, lw=0)
            axes.fill_between(epochs, rows[:, 1], rows[:, 3], color=colour, alpha=0.28, lw=0)
            axes.plot(epochs, rows[:, 2], color=colour)
            axes.set_title(modality, fontsize=10.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.panels[-1].set_xlabel("epoch")
        canvas.figure.supylabel("generated label", fontsize=11, color=INK)
    return canvas.drawing(
        "Labels that the model generates",
        f"{run.row}, seed {run.seed}: labels of each modality over the training "
        "clips. Line: median; dark: the middle half; light: from the lowest to the highest kept.",
    )
