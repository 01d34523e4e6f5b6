"""report.html: one file that opens anywhere, without network and without scripts if need be."""

import math
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..cache.runs import InputRecord
from ..cache.spec import LETTERS, MODALITIES
from .figures import figures
from .protocols import Metric
from .results import Report, Row
from .statistics import FEWEST_GROUPS, LEVEL, Difference, Spread
from .tables import is_best, spread_text

WORDS = {"T": "text", "A": "audio", "V": "vision"}


@dataclass(frozen=True)
class Cell:
    """One number of a table: what is shown, and what the column is sorted by."""

    text: str
    order: str = ""
    """A number for sorting; empty: sorts last."""
    beside: str = ""
    """After the text, smaller: the spread over seeds."""
    below: str = ""
    """Under the text, smaller: the interval."""
    strong: bool = False
    wide: bool = False
    """Whether `beside` has three decimals: keeps the means of a column under each other."""


def to_html(report: Report) -> str:
    """`report` as one self-contained HTML page; every text from the corpus is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["minus"] = minus
    source = (files(__package__) / "report.html.jinja").read_text(encoding="utf-8")
    metrics = report.metrics.metrics
    drawn = figures(report)
    return environment.from_string(source).render(
        report=report,
        metrics=metrics,
        rows=[(row, [_cell(report, row, m) for m in metrics]) for row in report.rows],
        baseline=[_cell(report, report.baseline, m) for m in metrics],
        differences=[
            (report.row(name), [_difference(m, found[m.key]) for m in metrics])
            for name, found in report.differences.items()
        ],
        runs=[
            (
                line,
                [_plain(m, line.test[m.key]) for m in metrics],
                _plain(report.metrics.metric("Corr"), line.valid["Corr"]),
                _plain(report.metrics.metric("MAE"), line.valid["MAE"]),
            )
            for line in report.runs
        ],
        published=[
            (line, [_published(m, line.values.get(m.key)) for m in metrics])
            for line in report.published
        ],
        best=[_cell(report, report.best, m) for m in metrics],
        drawings=[(d, Markup(d.svg)) for d in drawn],
        headline=headline(report),
        several=any(len(row.seeds) > 1 for row in report.rows),
        slots=slots,
        letters=list(LETTERS.values()),
        modalities=MODALITIES,
        number=number,
        level=round(100 * LEVEL),
        fewest=FEWEST_GROUPS,
        layer_words=layer_words,
        grave=[c for c in report.cautions if c.kind != "note"],
        notes=[c for c in report.cautions if c.kind == "note"],
    )


def headline(report: Report) -> str:
    """The result in two sentences: what was reached, on what, and against what."""
    best, corr, mae = report.best, report.metrics.metric("Corr"), report.metrics.metric("MAE")
    first = (
        f"{best.model} on {_words(best.letters)} reaches a test correlation of "
        f"{spread_text(corr, best.test['Corr'], len(best.seeds))}"
    )
    rivals = [
        row
        for row in report.rows
        if row.model == best.model
        and len(row.letters) == 1
        and row.name != best.name
        and math.isfinite(row.test["Corr"].mean)
    ]
    if len(best.letters) > 1 and rivals and math.isfinite(best.test["Corr"].mean):
        rival = max(rivals, key=lambda row: row.test["Corr"].mean)
        gain = best.test["Corr"].mean - rival.test["Corr"].mean
        first += f", {corr.show(abs(gain))} {'above' if gain >= 0 else 'below'} "
        first += f"its best single modality, {_words(rival.letters)}"
        found = report.differences.get(rival.name, {}).get("Corr")
        if found is not None and math.isfinite(found.low):
            first += f" ({round(100 * LEVEL)} % interval of the difference "
            first += f"{corr.show(found.low)} to {corr.show(found.high)})"
    seeds = f"mean of {len(best.seeds)} seeds" if len(best.seeds) > 1 else "one seed"
    second = (
        f"Its mean absolute error is {spread_text(mae, best.test['MAE'], len(best.seeds))} "
        f"({seeds}); always answering the mean training label gives "
        f"{mae.show(report.baseline.test['MAE'].mean)}."
    )
    return minus(f"{first}. {second}")


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


def slots(letters: str) -> list[tuple[str, bool]]:
    """T, A and V, each with whether it is among `letters`."""
    return [(letter, letter in letters) for letter in LETTERS.values()]


def minus(text: Any) -> str:
    """Hyphens before digits as true minus signs, as wide as the plus and figures around them."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", str(text))


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """`value` for reading, with a true minus; ``n/a`` if undefined."""
    if not math.isfinite(value):
        return "n/a"
    return minus(f"{value:{'+' if signed else ''}z.{digits}f}")


def _cell(report: Report, row: Row, metric: Metric) -> Cell:
    spread: Spread = row.test[metric.key]
    below = ""
    if spread.low is not None and spread.high is not None and math.isfinite(spread.low):
        dash = "\N{EN DASH}" if spread.low >= 0 else " to "
        below = f"{metric.show(spread.low)}{dash}{metric.show(spread.high)}"
    beside = ""
    if any(len(r.seeds) > 1 for r in report.rows):  # blank, it still keeps the means in line
        known = len(row.seeds) > 1 and math.isfinite(spread.mean)
        beside = f"± {metric.show(spread.std)}" if known else "\N{NO-BREAK SPACE}"
    return Cell(
        text=minus(metric.show(spread.mean)),
        order=_order(spread.mean),
        beside=beside,
        below=minus(below),
        strong=is_best(report, row, metric),
        wide=not metric.percent,
    )


def _plain(metric: Metric, value: float) -> Cell:
    return Cell(minus(metric.show(value)), _order(value))


def _published(metric: Metric, value: float | None) -> Cell:
    return Cell("") if value is None else _plain(metric, value)


def _difference(metric: Metric, found: Difference) -> Cell:
    if not math.isfinite(found.value):
        return Cell("n/a")
    sign = "+" if found.value >= 0 else ""
    below = ""
    if math.isfinite(found.low):
        below = f"{metric.show(found.low)} to {metric.show(found.high)}"
    certain = math.isfinite(found.low) and (found.low > 0 or found.high < 0)
    return Cell(
        minus(sign + metric.show(found.value)),
        _order(found.value),
        below=minus(below),
        strong=certain,
    )


def _order(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


def _words(letters: str) -> str:
    names = [WORDS[letter] for letter in letters]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
