"""What the page says in sentences: the result, the probe, the layers, numbers for reading."""

import math

from ...cache.runs import InputRecord
from ..protocols import Metric
from ..results import Report
from ..statistics import LEVEL
from .html_cells import minus
from .tables import probe_inputs, spread_text

WORDS = {"T": "text", "A": "audio", "V": "vision"}
_NAMES = {"Corr": "correlation", "MAE": "mean absolute error", "Accuracy": "accuracy"}


def headline(report: Report) -> str:
    """The result in two sentences: what was reached, on what, and against what."""
    best, corr = report.best, report.metrics.metric(report.metrics.first)
    mae = report.metrics.metric(report.metrics.second)
    what = _NAMES.get(corr.key, f"{corr.variant} {corr.label}".strip())
    first = (
        f"{best.model} on {_words(best.letters)} reaches a test {what} of "
        f"{spread_text(corr, best.test[corr.key], len(best.seeds))}{_percent(corr)}"
    )
    rivals = [
        row
        for row in report.rows
        if row.model == best.model
        and len(row.letters) == 1
        and row.name != best.name
        and math.isfinite(row.test[corr.key].mean)
    ]
    if len(best.letters) > 1 and rivals and math.isfinite(best.test[corr.key].mean):
        rival = max(rivals, key=lambda row: row.test[corr.key].mean)
        gain = best.test[corr.key].mean - rival.test[corr.key].mean
        first += f", {corr.show(abs(gain))} {'above' if gain >= 0 else 'below'} "
        first += f"its best single modality, {_words(rival.letters)}"
        found = report.differences.get(rival.name, {}).get(corr.key)
        if found is not None and math.isfinite(found.low):
            first += f" ({round(100 * LEVEL)} % interval of the difference "
            first += f"{corr.show(found.low)} to {corr.show(found.high)})"
    seeds = f"mean of {len(best.seeds)} seeds" if len(best.seeds) > 1 else "one seed"
    floors = [
        f"the {row.name} gives {mae.show(row.test[mae.key].mean)}{_percent(mae)}"
        for row in report.floors
    ]
    second = (
        f"Its {_NAMES.get(mae.key, mae.label)} is "
        f"{spread_text(mae, best.test[mae.key], len(best.seeds))}{_percent(mae)} ({seeds}); "
        f"{', '.join(floors)}."
    )
    return minus(f"{first}. {second}")


def probe_words(report: Report) -> str:
    """What the probe's row is; empty without one."""
    if report.probe is None:
        return ""
    kind = "Ridge" if report.probe.model.startswith("ridge") else "Softmax"
    return (
        f"{kind} regression on {probe_inputs(report)}; layers and penalty picked on validation. "
        "What a model scores above it is what it gains over a linear one."
    )


def layer_words(record: InputRecord) -> str:
    """Which layers an input reads: ``0 to 24, learned weights``."""
    names = record.layers
    run = len(names) > 2 and all(n.isdigit() for n in names)
    if run and [int(n) for n in names] == list(range(int(names[0]), int(names[0]) + len(names))):
        text = f"{names[0]} to {names[-1]}"
    else:
        text = ", ".join(names)
    how = ", learned weights" if record.weighted else ", stacked" if len(names) > 1 else ""
    return text + how


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """`value` for reading, with a true minus; ``n/a`` if undefined."""
    if not math.isfinite(value):
        return "n/a"
    return minus(f"{value:{'+' if signed else ''}z.{digits}f}")


def _percent(metric: Metric) -> str:
    return " %" if metric.percent else ""


def _words(letters: str) -> str:
    names = [WORDS[letter] for letter in letters]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
