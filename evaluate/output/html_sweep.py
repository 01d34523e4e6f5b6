"""What the page says of the layers: the comparison, every layer, and the lines to paste."""

import math
from dataclasses import dataclass, replace

from ...cache.sweeps import Sweep
from ..layer_comparison import (
    Line,
    comparisons,
    is_compared,
    layer_lines,
    metric_keys,
    protocol_of_sweep,
    recommendation_words,
)
from ..protocols import Metric
from ..results import Report
from .html_cells import Cell, minus, order, plain_cell

BLANK = "\N{NO-BREAK SPACE}"
"""Beside a number without spread: it still keeps the means of a column in line."""


@dataclass(frozen=True)
class SweepPart:
    """The sweep (or, without one, the probe) as the page shows it."""

    sweep: Sweep
    keys: tuple[str, str]
    """Metrics shown layer by layer."""
    metrics: tuple[Metric, ...]
    """Metrics of the comparison: not every F1."""
    compared: list[tuple[Line, list[Cell]]]
    """The first key on validation, then every metric on test."""
    floor: list[Cell]
    """Every metric of the answer that needs no features."""
    layers: list[tuple[Line, list[Cell]]]
    """Both keys as held out (folds, or validation), then on test where `is_compared`."""
    lines: str
    words: str
    """How the recommended choice compares; empty for a probe."""


def sweep_part(report: Report) -> SweepPart | None:
    """None where nothing was swept or probed."""
    if not report.sweeps:
        return None
    sweep = report.sweeps[-1]
    protocol, keys = protocol_of_sweep(sweep), metric_keys(sweep)
    metrics = protocol.leading
    spreads = any(point.count > 1 for each in report.sweeps for point in each.points)
    blank, floor = BLANK if spreads else "", report.baseline.test
    pairs = [(split, key) for split in ("valid", "test") for key in keys]
    return SweepPart(
        sweep=sweep,
        keys=keys,
        metrics=metrics,
        compared=[
            (
                line,
                [
                    _cell(protocol.metric(keys[0]), line, "valid", spreads),
                    *(_cell(m, line, "test", spreads) for m in metrics),
                ],
            )
            for line in comparisons(report.sweeps)
        ],
        floor=[
            replace(plain_cell(m, floor[m.key].mean), beside=blank, wide=not m.percent)
            for m in metrics
        ],
        layers=[
            (
                line,
                [
                    _cell(protocol.metric(key), line, split, spreads)
                    if split == "valid" or is_compared(each, line)
                    else Cell("", order(math.nan))
                    for split, key in pairs
                ],
            )
            for each in report.sweeps[::-1]
            for line in layer_lines(each)
        ],
        lines=sweep.lines(),
        words=minus(recommendation_words(sweep, sweep.best_arm())),
    )


def _cell(metric: Metric, line: Line, split: str, spreads: bool) -> Cell:
    """`spreads`: whether any line of the table has a spread over seeds."""
    spread = line.held_out(metric.key) if split == "valid" else line.spread(split, metric.key)
    several = len(spread.values) > 1
    beside = BLANK
    if several and math.isfinite(spread.mean):
        beside = f"± {metric.show(spread.std)}"
    tie = "~" if line.tied and split == "valid" else ""
    return Cell(
        text=tie + minus(metric.show(spread.mean)),
        order=order(spread.mean),
        beside=beside if spreads else "",
        wide=not metric.percent,
    )
