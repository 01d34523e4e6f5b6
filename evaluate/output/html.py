"""report.html: one file that opens anywhere, without network and without scripts if need be."""

import math
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ...cache.spec import LETTERS, MODALITIES
from ...escape import for_terminal
from ...model_table import Paper, paper_of
from ..analysis.missing_rates import Robustness, special_words
from ..figures.all import figures
from ..figures.canvas import MODELS
from ..figures.confusion_scatter import MOST_ROWS
from ..figures.layer_curves import sweep_figures
from ..figures.missing_rate_curves import robustness_figures
from ..figures.row_style import RowStyle, model_styles
from ..protocols import Metric, protocol_of
from ..results import Drawing, Report, Row
from ..statistics import FEWEST_GROUPS, LEVEL, Difference, Spread
from .html_cells import Cell, minus, order, plain_cell
from .html_sweep import sweep_part
from .html_words import WORDS, headline, layer_words, number, probe_words
from .tables import is_best, spread_text


@dataclass(frozen=True)
class RobustRow:
    """What one row keeps when features go missing."""

    name: str
    model: str
    letters: str
    lines: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class Drawings:
    """The figures of a page, section by section."""

    behind: tuple[Drawing, ...]
    robust: tuple[Drawing, ...]
    layers: tuple[Drawing, ...]

    @property
    def all(self) -> tuple[Drawing, ...]:
        """In the order of the page, those that were left out included."""
        return (*self.layers, *self.behind, *self.robust)


def draw(report: Report) -> Drawings:
    """Every figure that `report` has the data for."""
    return Drawings(figures(report), robustness_figures(report), sweep_figures(report.sweeps))


def to_html(report: Report, drawn: Drawings | None = None, exported: Collection[str] = ()) -> str:
    """`report` as one self-contained HTML page; every text from the corpus is escaped.

    `drawn` are its figures, drawn here if not given; those whose keys are `exported` are linked as
    files ``figures/<key>.png`` and ``.pdf`` beside the page.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = minus
    source = (files(__package__) / "report.html.jinja").read_text(encoding="utf-8")
    metrics = report.metrics.metrics
    drawn = drawn or draw(report)
    sweep, omitted = sweep_part(report), [one for one in drawn.all if not one.svg]
    return environment.from_string(source).render(
        report=report,
        metrics=metrics,
        rows=[(row, [_cell(report, row, m) for m in metrics]) for row in report.rows],
        floors=[(row, [_cell(report, row, m) for m in metrics]) for row in report.floors],
        first=report.metrics.metric(report.metrics.first),
        second=report.metrics.metric(report.metrics.second),
        facts=report.metrics.leading,
        differences=[
            (report.row(name), [_difference(m, found[m.key]) for m in metrics])
            for name, found in report.differences.items()
        ],
        runs=[(line, *_run_cells(report, line.test, line.valid)) for line in report.runs],
        rivals=[
            {
                name: (other, *_run_cells(report, other.metrics["test"], other.metrics["valid"]))
                for name, other in line.rivals.items()
            }
            for line in report.runs
        ],
        published=[
            (
                line,
                [
                    plain_cell(m, line.values[m.key]) if m.key in line.values else Cell("")
                    for m in metrics
                ],
            )
            for line in report.published
        ],
        tuned=[
            (
                pair,
                [_cell(report, pair.frozen, m) for m in metrics],
                [_cell(report, pair.finetuned, m) for m in metrics],
                [
                    _difference(m, found) if (found := pair.differences.get(m.key)) else Cell("n/a")
                    for m in metrics
                ],
            )
            for pair in report.tuned
        ],
        best=[_cell(report, report.best, m) for m in metrics],
        drawings=_groups(drawn.behind),
        omitted=omitted,
        exported=exported,
        choices=MOST_ROWS,
        contents=_contents(report, drawn),
        papers=_papers(report),
        key=[
            (model, f"var(--model-{MODELS.index(style.colour)})", _dashes(style))
            for model, style in model_styles(report).items()
        ],
        faces={name: data_uri(data) for name, data in report.faces.items()},
        headline=headline(report),
        probe_words=probe_words(report),
        sweep=sweep,
        robust=[_robust(row, metrics) for row in report.robustness],
        robust_words=special_words(report.robustness),
        crossed=[
            (one, [(m.key, spread_text(m, one.test[m.key], len(one.seeds))) for m in known])
            for one in report.cross
            for known in [protocol_of(one.scheme).metrics]
        ],
        robust_drawings=_groups(drawn.robust),
        sweep_drawings=_groups(drawn.layers),
        several=any(len(row.seeds) > 1 for row in report.rows),
        slots=slots,
        letters=list(LETTERS.values()),
        modalities=MODALITIES,
        number=number,
        order=order,
        level=round(100 * LEVEL),
        fewest=FEWEST_GROUPS,
        layer_words=layer_words,
        grave=[c for c in report.cautions if c.kind != "note"],
        notes=[c for c in report.cautions if c.kind == "note"],
    )


def _run_cells(
    report: Report, test: Mapping[str, float], valid: Mapping[str, float]
) -> tuple[list[Cell], Cell, Cell]:
    """Of one run: every metric on test, the protocol's first and second on validation."""
    protocol = report.metrics
    first, second = (protocol.metric(key) for key in (protocol.first, protocol.second))
    return (
        [plain_cell(m, test[m.key]) for m in protocol.metrics],
        plain_cell(first, valid[first.key]),
        plain_cell(second, valid[second.key]),
    )


def _groups(drawn: Sequence[Drawing]) -> list[list[tuple[Drawing, Any]]]:
    """The figures that are drawn; those that a row each has, together."""
    from markupsafe import Markup

    found: dict[str, list[tuple[Drawing, Any]]] = {}
    for one in drawn:
        if one.svg:
            found.setdefault(one.title if one.row else one.key, []).append((one, Markup(one.svg)))
    return list(found.values())


def _papers(report: Report) -> list[tuple[str, Paper]]:
    """The models of the table that papers have published, each with its own."""
    names = dict.fromkeys(row.model.split(" ")[0] for row in report.rows)
    found = [(name, paper_of(name)) for name in names]
    return [(name, paper) for name, paper in found if paper is not None]


def _contents(report: Report, drawn: Drawings) -> list[tuple[str, str]]:
    """Id and title of each section that the page has."""
    there: list[tuple[str, str, object]] = [
        ("results", "Results", True),
        ("fine-tuned", "Frozen against fine-tuned", report.tuned),
        ("differences", "What the chosen row adds", report.differences),
        ("published", "Published results", report.published),
        ("layer", "Which layer", report.sweeps),
        ("figures", "Figures", drawn.behind),
        ("cross", "On other corpora", report.cross),
        ("robustness", "Missing features", report.robustness),
        ("variance", "Variance", report.test_clips and report.analyses.variances),
        ("worst", "Worst clips", report.test_clips),
        ("origin", "Where the numbers come from", True),
        ("settings", "Settings", True),
        ("papers", "Papers", _papers(report)),
    ]
    return [(key, title) for key, title, shown in there if shown]


def _dashes(style: RowStyle) -> str:
    return " ".join(f"{2.2 * length:g}" for length in style.dashes) or "none"


def _shown(value: Any) -> Any:
    """What the page shows of `value`: in text of others, characters that steer are written out."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return for_terminal(value, keep="\n\t")
    return value


def data_uri(jpeg: bytes) -> str:
    """A picture that lies in the page itself."""
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def _robust(row: Robustness, metrics: Sequence[Metric]) -> RobustRow:
    """AUILC with frames of all modalities missing, then the scores without each modality."""
    curves, (model, _, letters) = row.curves.get("all", {}), row.name.rpartition(" ")
    lines = [
        (f"AUILC, rates {c.rates[0]:g} to {c.rates[-1]:g}", {k: v.area for k, v in curves.items()})
        for c in list(curves.values())[:1]
    ]
    if row.incomplete:
        areas = {key: curve.area for key, curve in row.incomplete.items()}
        lines.append(("AUILC, trained as incomplete", areas))
    lines += [(f"without {WORDS[letter]}", dict(own)) for letter, own in row.drops.items()]
    return RobustRow(
        row.name,
        model,
        letters,
        [(words, [plain_cell(m, own[m.key]) for m in metrics]) for words, own in lines],
    )


def slots(letters: str) -> list[tuple[str, bool]]:
    """T, A and V, each with whether it is among `letters`."""
    return [(letter, letter in letters) for letter in LETTERS.values()]


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
        order=order(spread.mean),
        beside=beside,
        below=minus(below),
        strong=is_best(report, row, metric),
        wide=not metric.percent,
    )


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
        order(found.value),
        below=minus(below),
        certain=certain,
    )
