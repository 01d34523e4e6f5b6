"""The results table as files to use elsewhere: CSV for programs, Markdown and LaTeX for papers."""

import csv
import io
import math

from ...cache.spec import LETTERS, MODALITIES
from ...escape import for_csv, for_latex, for_markdown
from ..protocols import Metric
from ..results import Report, Row
from ..statistics import Spread


def to_csv(report: Report) -> str:
    """A row a model and floor; each metric as ``<key>_mean, _std, _low, _high``.

    Full precision and fractions, not percent; an undefined number is an empty field. The last
    column names the encoders with random weights.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    parts = ("mean", "std", "low", "high")
    keys = [m.key for m in report.metrics.metrics]
    table.writerow(
        [
            "model",
            "modalities",
            "seeds",
            *(f"{k}_{p}" for k in keys for p in parts),
            "untrained_encoders",
        ]
    )
    for row in (*report.rows, *report.floors):
        table.writerow(
            [
                for_csv(row.model),
                row.letters,
                len(row.seeds),
                *(_field(getattr(row.test[k], p)) for k in keys for p in parts),
                for_csv("; ".join(report.untrained)),
            ]
        )
    return out.getvalue()


def to_markdown(report: Report) -> str:
    """The table with the field's keys as heads, ``mean ± std``, best row of each metric in bold."""
    metrics = report.metrics.metrics
    head = [
        "Model",
        "Inputs",
        "Seeds",
        *(for_markdown(m.key) + (" ↑" if m.higher else " ↓") for m in metrics),
    ]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for row in (*report.rows, *report.floors):
        cells = [
            f"**{text}**" if is_best(report, row, m) else text
            for m in metrics
            if (text := spread_text(m, row.test[m.key], len(row.seeds)))
        ]
        lines.append([for_markdown(row.model), row.letters, _seeds(row), *cells])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{body}\n\n{for_markdown(reading(report))}\n"


def to_latex(report: Report) -> str:
    """A booktabs ``table`` environment; needs ``\\usepackage{booktabs}`` and nothing else."""
    metrics = report.metrics.metrics
    heads = [for_latex(f"{m.label}{' ' + m.variant if m.variant else ''}") for m in metrics]
    arrows = [r"$\uparrow$" if m.higher else r"$\downarrow$" for m in metrics]
    first = ["Model", "Inputs", "Seeds", *(f"{h} {a}" for h, a in zip(heads, arrows, strict=True))]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{for_latex(reading(report))}}}",
        rf"\begin{{tabular}}{{llr{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join(first) + r" \\",
        r"\midrule",
    ]
    for row in (*report.rows, *report.floors):
        if row is report.floors[0]:
            lines.append(r"\midrule")
        cells = [_tex_cell(report, row, m) for m in metrics]
        lines.append(" & ".join([for_latex(row.model), row.letters, _seeds(row), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def reading(report: Report) -> str:
    """One paragraph that a table must not travel without."""
    shares = "Acc and F1 in percent; mean ± population standard deviation over seeds"
    if len(report.floors) > 1:
        shares += f"; the probe is linear, on {probe_inputs(report)}"
    untrained = (
        f" Encoders with random weights: {', '.join(report.untrained)}." if report.untrained else ""
    )
    return f"{report.corpus}, {report.test_clips} test clips. {shares}.{untrained}"


def probe_inputs(report: Report) -> str:
    """``layer 20 of text``: what the best probe reads."""
    found = next(sweep for sweep in report.sweeps if sweep.kind == "probe")
    picks = found.picks[found.arms[0]]
    probe = report.floors[-1]
    own = [f"layer {picks[m]} of {m}" for m in MODALITIES if LETTERS[m] in probe.letters]
    return f"the mean over each clip's frames of {', '.join(own)}"


def spread_text(metric: Metric, spread: Spread, seeds: int) -> str:
    """``82.1 ± 0.4``; without the spread where one seed, or none, cannot have any."""
    mean = metric.show(spread.mean)
    return mean if seeds < 2 or mean == "n/a" else f"{mean} ± {metric.show(spread.std)}"


def is_best(report: Report, row: Row, metric: Metric) -> bool:
    """Whether `row` prints as well as the best model row; a floor never counts."""
    if row.name not in {r.name for r in report.rows}:
        return False
    known = [v for r in report.rows if math.isfinite(v := r.test[metric.key].mean)]
    if not known or not math.isfinite(row.test[metric.key].mean):
        return False
    best = max(known) if metric.higher else min(known)
    return metric.show(row.test[metric.key].mean) == metric.show(best)


def _tex_cell(report: Report, row: Row, metric: Metric) -> str:
    text = spread_text(metric, row.test[metric.key], len(row.seeds))
    if text == "n/a":
        return "--"
    mean, _, std = text.partition(" ± ")
    number = rf"\mathbf{{{mean}}}" if is_best(report, row, metric) else mean
    return f"${number}" + (rf" \pm {std}" if std else "") + "$"


def _field(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _seeds(row: Row) -> str:
    return str(len(row.seeds)) if row.seeds else ""
