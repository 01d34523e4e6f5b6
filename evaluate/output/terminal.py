"""The results table on a terminal, wide or narrow, and the comparison of two rows."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...cache.runs.identity import wording
from ..analysis.missing_rates import special_words
from ..compare import Comparison
from ..protocols import protocol_of
from ..results import Caution, Report
from ..statistics import LEVEL
from .tables import is_best, spread_text

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

NARROW = 126
"""Below this many columns mean and spread stand under each other."""


def to_terminal(report: Report, width: int = 80) -> "Group":
    """The table and the cautions as something rich can print, for `width` columns."""
    from rich.console import Group
    from rich.text import Text

    narrow, metrics = width < NARROW, report.metrics.metrics
    counts = {len(row.seeds) for row in report.rows}
    seeds = f"{min(counts)} seeds" if len(counts) == 1 else "seeds"
    about = "" if counts == {1} else f"; mean ± standard deviation over {seeds}"
    table = titled_table(
        f"{report.corpus}, {report.test_clips} test clips",
        ("",),
        (["seeds"] if len(counts) > 1 else []) + [halved(metric.key) for metric in metrics],
        f"Acc and F1 in percent{about}.",
    )
    table.padding = (0, 1, 0, 0) if narrow else (0, 2, 0, 0)
    table.columns[0].no_wrap = not narrow
    shown = [[spread_text(m, r.test[m.key], len(r.seeds)) for m in metrics] for r in report.rows]
    room = [
        max(len(text.partition(" ± ")[2]) for text in column) for column in zip(*shown, strict=True)
    ]
    for row in (*report.rows, *report.floors):
        is_floor = row in report.floors
        cells = [Text(row.name, style="dim" if is_floor else "")]
        if len(counts) > 1:
            cells.append(Text(str(len(row.seeds) or "")))
        for metric, spread in zip(metrics, room, strict=True):
            text = spread_text(metric, row.test[metric.key], len(row.seeds))
            if not narrow and " ± " not in text and spread:
                # its mean stands under the other rows' means; rich strips plain spaces
                text += "\N{NO-BREAK SPACE}" * (3 + spread)
            style = "bold" if is_best(report, row, metric) else "dim" if is_floor else ""
            cells.append(Text(text.replace(" ± ", "\n±") if narrow else text, style=style))
        table.add_row(*cells)
    return Group(table, *cross_to_terminal(report), *caution_lines(report.cautions))


def caution_lines(cautions: Iterable[Caution]) -> "list[Text]":
    """A line each, the graver the brighter."""
    from rich.text import Text

    styles = {"untrained": "bold yellow", "warning": "yellow", "note": "dim"}
    return [Text(f"{c.kind}: {c.text}", style=styles[c.kind]) for c in cautions]


def titled_table(
    title: str, heads: Sequence[str], numbers: Sequence[str], caption: str = ""
) -> "Table":
    """An empty table with columns of text under `heads`, then of numbers under `numbers`."""
    from rich import box
    from rich.table import Table

    table = Table(
        *heads,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
    )
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def cross_to_terminal(report: Report) -> "list[Table]":
    """A table for each other corpus that rows were tested on."""
    tables = []
    corpora = dict.fromkeys((one.corpus, one.scheme, one.said) for one in report.cross)
    for corpus, scheme, said in corpora:
        rows = [o for o in report.cross if (o.corpus, o.scheme, o.said) == (corpus, scheme, said)]
        metrics = protocol_of(scheme).metrics
        title = f"trained on {report.corpus}, tested on {corpus}, {rows[0].clips} test clips"
        table = titled_table(title, ("",), [halved(m.key) for m in metrics], said)
        for row in rows:
            cells = [spread_text(m, row.test[m.key], len(row.seeds)) for m in metrics]
            table.add_row(row.name, *(cell.replace(" ± ", "\n±") for cell in cells))
        tables.append(table)
    return tables


def comparison_to_terminal(found: Comparison) -> "Group":
    """Both sides, their difference with its interval and p value, and McNemar's test."""
    from rich.console import Group
    from rich.text import Text

    first, second = found.first, found.second
    clips = f"{found.clips} test clips of {found.videos} videos"
    heads = (first.name, second.name, "difference", f"{round(100 * LEVEL)} % interval", "p")
    table = titled_table(f"{first.name} against {second.name}, {clips}", ("",), heads)
    for metric in protocol_of(found.scheme).metrics:
        one = found.differences[metric.key]
        certain = one.low > 0 or one.high < 0
        sides = [spread_text(metric, s.test[metric.key], len(s.seeds)) for s in (first, second)]
        value = metric.show(one.value)
        table.add_row(
            metric.key,
            *sides,
            value if value == "n/a" or one.value < 0 else f"+{value}",
            f"{metric.show(one.low)} to {metric.show(one.high)}",
            "n/a" if one.p != one.p else f"{one.p:.3f}",
            style="bold" if certain else "",
        )
    test = found.mcnemar
    lines = [
        f"Paired bootstrap over {found.drawn_over}, {found.resamples} resamples; mean over seeds "
        f"({len(first.seeds)} and {len(second.seeds)}). Bold: the interval excludes zero.",
        f"McNemar on {found.question}: {test.only_first} clips only {first.name} gets right, "
        f"{test.only_second} only {second.name}, p = {test.p:.3f}.",
    ]
    if found.apart:
        lines.append(f"They differ in: {wording(found.apart, ' against ')}.")
    if found.left_out:
        lines.append(f"{found.left_out} test clips that only one of the two answered are left out.")
    return Group(table, *(Text(line, style="dim") for line in lines))


def robustness_to_terminal(report: Report) -> "Table":
    """A line a row and loss: AUILC over missing rates, then without each modality."""
    metrics = report.metrics.metrics
    table = titled_table(
        f"{report.corpus}, test clips with features missing",
        ("", "missing"),
        [halved(metric.key) for metric in metrics],
        "AUILC: area under the score over the share of frames missing, all modalities; trained so: "
        f"by models trained anew at each share. Of text: {special_words(report.robustness)}.",
    )
    for row in report.robustness:
        curves = row.curves.get("all", {})
        if curves:
            areas = [m.show(curves[m.key].area) for m in metrics]
            table.add_row(row.name, "AUILC", *areas)
        if row.incomplete:
            areas = [m.show(row.incomplete[m.key].area) for m in metrics]
            table.add_row(row.name, "AUILC, trained so", *areas)
        for letter, scores in row.drops.items():
            table.add_row(row.name, f"all of {letter}", *(m.show(scores[m.key]) for m in metrics))
    return table


def halved(key: str) -> str:
    """The key on two lines of least width, cut before an underscore; joined it is the key again.

    >>> halved("Has0_F1_score")
    'Has0_F1\\n_score'
    """
    cuts = [at for at, letter in enumerate(key) if letter == "_"]
    if not cuts:
        return key
    best = min(cuts, key=lambda at: max(at, len(key) - at))
    return f"{key[:best]}\n{key[best:]}"
