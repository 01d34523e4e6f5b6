"""The results table on a terminal, wide or narrow."""

from typing import TYPE_CHECKING

from .results import Report
from .tables import is_best, spread_text

if TYPE_CHECKING:
    from rich.console import Group

NARROW = 126
"""Below this many columns mean and spread stand under each other."""


def to_terminal(report: Report, width: int = 80) -> "Group":
    """The table and the cautions as something rich can print, for `width` columns."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    narrow = width < NARROW
    counts = {len(row.seeds) for row in report.rows}
    seeds = f"{min(counts)} seeds" if len(counts) == 1 else "seeds"
    spread = "" if counts == {1} else f"; mean ± standard deviation over {seeds}"
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0) if narrow else (0, 2, 0, 0),
        title=f"{report.corpus}, {report.test_clips} test clips",
        title_justify="left",
        title_style="bold",
        caption=f"Acc and F1 in percent{spread}.",
        caption_justify="left",
    )
    table.add_column("", no_wrap=not narrow)
    if len(counts) > 1:
        table.add_column("seeds", justify="right")
    for metric in report.metrics.metrics:
        head = halved(metric.key)
        table.add_column(head, justify="right", no_wrap=True)
    for row in (*report.rows, report.baseline):
        own = row is report.baseline
        cells = [Text(row.name, style="dim" if own else "")]
        if len(counts) > 1:
            cells.append(Text(str(len(row.seeds) or "")))
        for metric in report.metrics.metrics:
            text = spread_text(metric, row.test[metric.key], len(row.seeds))
            style = "bold" if is_best(report, row, metric) else "dim" if own else ""
            cells.append(Text(text.replace(" ± ", "\n±") if narrow else text, style=style))
        table.add_row(*cells)
    styles = {"untrained": "bold yellow", "warning": "yellow", "note": "dim"}
    lines = [Text(f"{c.kind}: {c.text}", style=styles[c.kind]) for c in report.cautions]
    return Group(table, *lines)


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
