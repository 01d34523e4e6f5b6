"""Weights that models learn or give out: gates of modalities, mixtures of layers."""

import re

import numpy as np

from ..analysis.learned_weights import Gates
from ..results import Drawing, Report
from .canvas import INK, MODALITY_COLOURS, MUTED, Canvas

_WORDS = {
    "gate": (
        "What the gate lets through",
        "gate weight",
        "Near 0: the modality is shut out; near 1: passed whole.",
    ),
    "weights_global": (
        "How global representations are weighed",
        "weight",
        "The weights of a clip add up to one.",
    ),
}


def gate_figures(report: Report) -> tuple[Drawing, ...]:
    """A figure for each model that weighs modalities."""
    return tuple(gate_figure(found) for found in report.analyses.gates)


def gate_figure(found: Gates) -> Drawing:
    """Distribution of each modality's weight over test clips."""
    gates, (title, unit, words) = found.weights, _WORDS[found.output]
    top = max(1.0, max(float(g.max()) for g in gates.values()))
    edges = np.linspace(min(0.0, min(float(g.min()) for g in gates.values())), top, 31)
    key = "gates-" + re.sub(r"[^\w-]+", "-", found.row.rpartition(" ")[0])
    with Canvas(key, 70 + 76 * len(gates), rows=len(gates), sharex=True) as canvas:
        for axes, (modality, values) in zip(canvas.panels, gates.items(), strict=True):
            shares = np.histogram(values, edges)[0] / values.size
            axes.stairs(100 * shares, edges, fill=True, color=MODALITY_COLOURS[modality], alpha=0.3)
            axes.stairs(100 * shares, edges, color=MODALITY_COLOURS[modality], lw=1.2)
            axes.axvline(float(values.mean()), color=INK, lw=1, ls=(0, (2, 2)))
            axes.set_title(f"{modality}, mean {values.mean():.2f}", fontsize=10.5)
            axes.set_ylim(bottom=0)
            axes.margins(x=0.01)
            axes.grid(axis="x", visible=False)
        canvas.panels[-1].set_xlabel(unit)
        canvas.figure.supylabel("percent of test clips", fontsize=11, color=INK)
    return canvas.drawing(
        title, f"{found.row}, test clips of all seeds. {words} The dashed line is the mean."
    )


def layers_figure(report: Report) -> Drawing | None:
    """Learned layer weights of each modality, bars the mean and dots the seeds."""
    mixtures = report.analyses.layers
    if mixtures is None:
        return None
    layers = mixtures.weights
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
    return canvas.drawing(
        "Learned layer weights",
        f"{mixtures.row}. Bars: mean over seeds; ticks: each seed; dashed: all layers alike.",
    )
