"""The figures of a report, each from the Report alone."""

from collections.abc import Sequence

import numpy as np

from ..cache.spec import LETTERS
from .drawing import (
    ACCENT,
    INK,
    MODALITY_COLOURS,
    MODALITY_MARKERS,
    MUTED,
    PAPER,
    RULE,
    Canvas,
    Drawing,
)
from .results import Report, Row

MOST_ROWS = 24
MOST_POINTS = 1500
MOST_TRACKS = 4


def figures(report: Report) -> tuple[Drawing, ...]:
    """Every figure that this report has the data for, in reading order."""
    if not report.test_clips:
        return ()
    drawn = (
        rows_figure(report, report.metrics.first),
        rows_figure(report, report.metrics.second),
        scatter_figure(report),
        confusion_figure(report),
        training_figure(report),
        video_figure(report),
        gate_figure(report),
        layers_figure(report),
    )
    return tuple(figure for figure in drawn if figure is not None)


def rows_figure(report: Report, key: str) -> Drawing | None:
    """Every row's mean over seeds, its interval, and each seed."""
    metric = report.metrics.metric(key)
    rows = [row for row in report.rows if np.isfinite(row.test[key].mean)]
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.test[key].mean, reverse=metric.higher)[:MOST_ROWS]
    with Canvas(f"rows-{key.lower()}", 64 + 24 * len(ordered)) as canvas:
        axes = canvas.panels[0]
        for place, row in enumerate(ordered):
            spread, colour = row.test[key], _colour(row)
            if spread.low is not None and spread.high is not None:
                axes.plot(
                    [spread.low, spread.high],
                    [place, place],
                    color=colour,
                    lw=2.4,
                    alpha=0.45,
                    solid_capstyle="round",
                )
            axes.plot(
                spread.values,
                [place] * len(spread.values),
                ls="none",
                marker="|",
                ms=9,
                color=colour,
                mew=1,
            )
            axes.plot(
                [spread.mean],
                [place],
                marker=_marker(row),
                ms=6.5,
                color=colour,
                mec=PAPER,
                mew=0.8,
            )
        for number, own in enumerate(report.floors):
            value = own.test[key].mean
            if np.isfinite(value):
                axes.axvline(value, color=MUTED, lw=1, ls=((0, (4, 3)), (0, (1, 2)))[number])
                axes.annotate(
                    f" {own.name} ",
                    (value, 1),
                    xycoords=("data", "axes fraction"),
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
        key, "Accuracy" if key == "Accuracy" else f"{metric.label}, {metric.variant}"
    )
    return Drawing(
        canvas.key,
        title,
        f"Test split. Marker: mean over seeds; ticks: each seed.{bar}{shown}",
        canvas.svg,
    )


def scatter_figure(report: Report) -> Drawing | None:
    """Label against prediction, with the mean label by predicted score."""
    found, protocol = report.analyses, report.metrics
    if protocol.of_classes:
        return None
    known = np.isfinite(found.predictions) & np.isfinite(found.labels)
    x, y = found.predictions[known], found.labels[known]
    if not x.size:
        return None
    step = -(-x.size // MOST_POINTS)
    with Canvas("scatter", 400) as canvas:
        axes = canvas.panels[0]
        reach = float(max(protocol.high, np.abs(x).max())) * 1.05
        ends = [-protocol.high, protocol.high]
        axes.plot(ends, ends, color=MUTED, lw=1, ls=(0, (4, 3)))
        axes.plot(
            x[::step],
            y[::step],
            ls="none",
            marker="o",
            ms=4.5,
            mec="none",
            alpha=0.4,
            color=MODALITY_COLOURS["text"],
        )
        if len(found.calibration) > 1:
            axes.plot(
                found.calibration[:, 0],
                found.calibration[:, 1],
                color=ACCENT,
                marker="D",
                ms=5,
                mec=PAPER,
                mew=0.8,
                lw=1.4,
            )
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-protocol.high * 1.1, protocol.high * 1.1)
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
    drawn = f" {x[::step].size} of {x.size} clips are drawn." if step > 1 else ""
    return Drawing(
        canvas.key,
        "Label and prediction",
        f"{found.name}, every test clip, mean over seeds.{drawn} Diamonds: mean label of clips "
        "with about this prediction; on the dashed line the scores mean what they say.",
        canvas.svg,
    )


def confusion_figure(report: Report) -> Drawing | None:
    """Labelled against predicted class; shade and first number are the share of the row."""
    table = report.analyses.confusion
    names = [
        name.replace("-", "\N{MINUS SIGN}").replace("<=", "\N{LESS-THAN OR EQUAL TO}")
        for name in report.metrics.bins
    ]
    if not table.sum():
        return None
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    with Canvas("confusion", 400) as canvas:
        axes = canvas.panels[0]
        for truth, guess in np.ndindex(*table.shape):
            share = float(shares[truth, guess])
            axes.fill_between(
                [guess - 0.48, guess + 0.48],
                truth - 0.47,
                truth + 0.47,
                lw=0,
                color=MODALITY_COLOURS["text"],
                alpha=0.06 + 0.74 * share,
            )
            if table[truth, guess]:
                axes.text(
                    guess,
                    truth,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    color=INK if share < 0.6 else PAPER,
                )
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
    return Drawing(
        canvas.key,
        "Confusion of classes",
        f"{report.analyses.name}, test clips of all seeds. Each number: percent of the clips "
        "with this label, a row adds up to 100.",
        canvas.svg,
    )


def training_figure(report: Report) -> Drawing | None:
    """Training and validation loss by epoch, a line a seed, the chosen epoch marked."""
    found = report.analyses
    histories = [h for h in found.histories[found.name] if h]
    if not histories:
        return None
    with Canvas("training", 300) as canvas:
        axes = canvas.panels[0]
        for number, (history, best) in enumerate(
            zip(histories, found.best_epochs[found.name], strict=False)
        ):
            epochs = [line.epoch for line in history]
            alone = number == 0
            axes.plot(
                epochs,
                [line.train_loss for line in history],
                color=MUTED,
                lw=1.2,
                ls=(0, (3, 2)),
                label="training" if alone else None,
            )
            axes.plot(
                epochs,
                [line.valid_loss for line in history],
                color=ACCENT,
                lw=1.4,
                label="validation" if alone else None,
            )
            chosen = [line.valid_loss for line in history if line.epoch == best]
            axes.plot(
                [best] * len(chosen),
                chosen,
                ls="none",
                marker="o",
                ms=6,
                color=ACCENT,
                mec=PAPER,
                mew=0.8,
                label="chosen epoch" if alone else None,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper right")
    return Drawing(
        canvas.key,
        "Training",
        f"{found.name}, a line a seed. The chosen epoch is best in "
        f"{report.provenance.criterion}; test is scored there only.",
        canvas.svg,
    )


def video_figure(report: Report) -> Drawing | None:
    """Labels and predictions along the longest test video."""
    track = report.analyses.video
    if track is None:
        return None
    names = _companions(report, list(track.tracks))
    with Canvas("video", 300) as canvas:
        axes = canvas.panels[0]
        clips = np.arange(1, track.labels.size + 1)
        axes.plot(clips, track.labels, color=RULE, lw=5, solid_capstyle="round", label="label")
        for name in names:
            row = report.row(name)
            axes.plot(
                clips,
                track.tracks[name],
                color=_colour(row),
                marker=_marker(row),
                ms=4.5,
                lw=1.8 if name == report.headline else 1,
                label=name,
                mec=PAPER,
                mew=0.5,
            )
        axes.set_xlabel("clip of the video")
        axes.set_ylabel("score")
        axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.figure.legend(
            loc="outside upper left", ncols=min(len(names) + 1, 5), columnspacing=1.2
        )
    return Drawing(
        canvas.key,
        "Along one video",
        f"The test video with most clips ({track.video}): labels and predictions, mean over "
        "seeds. A flat line over a moving label means that the model hears or sees who speaks, "
        "not how.",
        canvas.svg,
    )


def gate_figure(report: Report) -> Drawing | None:
    """Distribution of each modality's gate weight over test clips."""
    gates = {m: g for m, g in report.analyses.gates.items() if g.size}
    if not gates:
        return None
    top = max(1.0, max(float(g.max()) for g in gates.values()))
    edges = np.linspace(min(0.0, min(float(g.min()) for g in gates.values())), top, 31)
    with Canvas("gates", 70 + 76 * len(gates), rows=len(gates), sharex=True) as canvas:
        for axes, (modality, values) in zip(canvas.panels, gates.items(), strict=True):
            shares = np.histogram(values, edges)[0] / values.size
            axes.stairs(100 * shares, edges, fill=True, color=MODALITY_COLOURS[modality], alpha=0.3)
            axes.stairs(100 * shares, edges, color=MODALITY_COLOURS[modality], lw=1.2)
            axes.axvline(float(values.mean()), color=INK, lw=1, ls=(0, (2, 2)))
            axes.set_title(f"{modality}, mean {values.mean():.2f}", fontsize=10.5)
            axes.set_ylim(bottom=0)
            axes.margins(x=0.01)
            axes.grid(axis="x", visible=False)
        canvas.panels[-1].set_xlabel("gate weight")
        canvas.figure.supylabel("percent of test clips", fontsize=11, color=INK)
    return Drawing(
        canvas.key,
        "What the gate lets through",
        f"{report.analyses.name}, test clips of all seeds. Near 0: the modality is shut out; near "
        "1: passed whole. The dashed line is the mean.",
        canvas.svg,
    )


def layers_figure(report: Report) -> Drawing | None:
    """Learned layer weights of each modality, bars the mean and dots the seeds."""
    layers = report.analyses.layers
    if not layers:
        return None
    with Canvas("layers", 70 + 96 * len(layers), rows=len(layers)) as canvas:
        for axes, (modality, found) in zip(canvas.panels, layers.items(), strict=True):
            places = np.arange(len(found.names))
            colour = MODALITY_COLOURS[modality]
            axes.bar(places, found.weights.mean(axis=0), color=colour, alpha=0.3, width=0.7)
            for seed in found.weights:
                axes.plot(places, seed, ls="none", marker="_", ms=8, mew=1.2, color=colour)
            axes.axhline(1 / len(places), color=MUTED, lw=1, ls=(0, (2, 2)))
            step = -(-len(places) // 16)
            axes.set_xticks(places[::step], found.names[::step])
            axes.set_title(modality, fontsize=10.5)
            axes.grid(axis="x", visible=False)
        canvas.panels[-1].set_xlabel("layer (0 = embedding)")
        canvas.figure.supylabel("weight", fontsize=11, color=INK)
    return Drawing(
        canvas.key,
        "Learned layer weights",
        f"{report.analyses.name}. Bars: mean over seeds; ticks: each seed; dashed: all layers "
        "alike.",
        canvas.svg,
    )


def _companions(report: Report, names: Sequence[str]) -> list[str]:
    """The headline row and the single modalities of its model, as far as they are among `names`."""
    best = report.best
    single = [f"{best.model} {letter}" for letter in LETTERS.values()]
    kept = [best.name, *(n for n in single if n != best.name)]
    return [name for name in kept if name in names][:MOST_TRACKS]


def _colour(row: Row) -> str:
    return MODALITY_COLOURS.get(row.letters, INK)


def _marker(row: Row) -> str:
    return MODALITY_MARKERS.get(row.letters, "o")
