"""Scores by layer, a panel a modality: UEGD's Fig. 6, with the spread over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cache.spec import LETTERS, MODALITIES, Modality
from ...cache.sweeps import Point, Sweep
from ..layer_comparison import metric_keys, protocol_of_sweep
from ..results import Drawing
from .canvas import ACCENT, ALONE, INK, MARKS, MODALITY_COLOURS, MUTED, Canvas

MOST_ARMS = 3
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5, 1, 1.5)), (0, (1, 1)))


def sweep_figures(sweeps: Sequence[Sweep]) -> tuple[Drawing, ...]:
    """A figure a metric: validation scores of every layer of every modality, and of the picked and
    the last one those of test."""
    if not sweeps:
        return ()
    main = next((s for s in sweeps if s.kind == "sweep"), sweeps[0])
    probe = next((s for s in sweeps if s.kind == "probe" and s is not main), None)
    found = (layer_figure(main, probe, key) for key in metric_keys(main))
    return tuple(figure for figure in found if figure is not None)


def layer_figure(sweep: Sweep, probe: Sweep | None, key: str) -> Drawing | None:
    """`key` by layer on validation, a line an arm, the probe in grey; diamonds for test."""
    metric = protocol_of_sweep(sweep).metric(key)
    modalities = [m for m in MODALITIES if m in sweep.encoders and sweep.encoders[m].layers]
    if not modalities:
        return None
    arms = sweep.arms[:MOST_ARMS]
    with Canvas(f"sweep-{key.lower()}", 70 + 150 * len(modalities), len(modalities)) as canvas:
        for axes, modality in zip(canvas.panels, modalities, strict=True):
            names = sweep.encoders[modality].layers
            colour = MODALITY_COLOURS[modality]
            if probe is not None and modality in probe.encoders:
                own = probe.curve(probe.arms[0], modality)
                _line(axes, own, names, key, MUTED, (0, (4, 2)), "", "linear probe, held out")
            for number, arm in enumerate(arms):
                points = sweep.curve(arm, modality)
                said = f"{arm}, " if len(arms) > 1 else ""
                _band(axes, points, names, key, colour)
                _line(axes, points, names, key, colour, DASHES[number], "o", f"{said}valid")
                _tested(axes, sweep, arm, modality, key, f"{said}test of picked and last")
                _mark(axes, sweep, arm, modality, key)
            step = -(-len(names) // 13)
            axes.set_xticks(range(0, len(names), step), names[::step])
            axes.set_xlim(-0.5, len(names) - 0.5)
            axes.set_title(f"{modality}, {sweep.encoders[modality].name}", fontsize=10.5)
            if metric.percent:
                axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        canvas.panels[-1].set_xlabel("layer (0 = embedding)")
        unit = ", percent" if metric.percent else ""
        better = "higher" if metric.higher else "lower"
        canvas.figure.supylabel(f"{key}{unit}, {better} is better", fontsize=11, color=INK)
        canvas.legend(4)
    model = "the linear probe" if sweep.kind == "probe" else " and ".join(arms)
    hidden = len(sweep.arms) - len(arms)
    band = "; band: spread over seeds" if len(sweep.points[0].seeds) > 1 else ""
    return canvas.drawing(
        f"{key} by layer",
        f"Each modality alone, {model}, on validation{band}. The ring: the layer picked by "
        f"{sweep.criterion}. Diamonds: test, of the picked and the last layer alone."
        + (f" {hidden} more variants are in the table." if hidden > 0 else ""),
    )


def _held_out(point: Point, key: str) -> tuple[float, ...]:
    """Over the folds of a probe, over the seeds of a model."""
    return tuple(point.folds.get(key) or point.scores["valid"].get(key, (np.nan,)))


def _places(points: Sequence[Point], names: Sequence[str]) -> list[int]:
    return [names.index(point.choice) for point in points if point.choice in names]


def _line(
    axes: Any,
    points: Sequence[Point],
    names: Sequence[str],
    key: str,
    colour: str,
    dashes: Any,
    marker: str,
    label: str,
) -> None:
    kept = [point for point in points if point.choice in names]
    axes.plot(
        _places(kept, names),
        [np.mean(_held_out(point, key)) for point in kept],
        color=colour,
        ls=dashes,
        lw=1.8 if marker else 1.2,
        marker=marker,
        label=label,
        **MARKS,
    )


def _band(axes: Any, points: Sequence[Point], names: Sequence[str], key: str, colour: str) -> None:
    kept = [point for point in points if point.choice in names]
    values = [_held_out(point, key) for point in kept]
    if any(len(own) > 1 for own in values):
        mean = np.array([np.mean(own) for own in values])
        deviation = np.array([np.std(own) for own in values])
        ends = mean - deviation, mean + deviation
        axes.fill_between(_places(kept, names), *ends, color=colour, alpha=0.18, lw=0)


def _tested(axes: Any, sweep: Sweep, arm: str, modality: Modality, key: str, label: str) -> None:
    """Test scores of the layers that may be looked at on test."""
    encoder, letter = sweep.encoders[modality], LETTERS[modality]
    asked = dict.fromkeys((sweep.picks.get(arm, {}).get(modality), encoder.last))
    points = [p for name in asked if name and (p := sweep.find(arm, letter, name)) is not None]
    axes.plot(
        _places(points, encoder.layers),
        [point.mean("test", key) for point in points if point.choice in encoder.layers],
        marker="D",
        color=ACCENT,
        label=label,
        **ALONE,
    )


def _mark(axes: Any, sweep: Sweep, arm: str, modality: Modality, key: str) -> None:
    chosen = sweep.picks.get(arm, {}).get(modality)
    point = None if chosen is None else sweep.find(arm, LETTERS[modality], chosen)
    if point is not None and chosen in sweep.encoders[modality].layers:
        place = sweep.encoders[modality].layers.index(chosen)
        ring: Any = {"ls": "none", "marker": "o", "ms": 11, "mfc": "none", "mew": 1.6}
        axes.plot([place], [np.mean(_held_out(point, key))], mec=ACCENT, **ring)
