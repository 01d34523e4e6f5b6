"""The result file that MMSA writes, so that our rows and those of that tool stand in one table.

Layout read from MMSA 2.2.1 (github.com/thuiar/MMSA): ``results/normal/<dataset>.csv``, a row a
model, each cell the text ``(mean, std)`` times 100, population deviation, two decimals.
"""

import csv
import io
from pathlib import Path

from ...cache.store.atomic_write import replace
from ..results import Report, Row


def to_mmsa(report: Report, before: str = "") -> str:
    """The file's text; rows of `before` (an existing file) whose model we have not are kept.

    MMSA has one row a model: the modalities are added to the name where they are not all three.
    """
    keys = [metric.key for metric in report.metrics.metrics]
    rows = {_name(row): [_name(row), *(_cell(row, key) for key in keys)] for row in report.rows}
    kept: list[list[str]] = []
    head = ["Model", *keys]
    old = list(csv.reader(io.StringIO(before)))
    if old and "Model" in old[0]:
        place = {name: old[0].index(name) for name in head if name in old[0]}
        for line in old[1:]:
            own = [line[place[name]] if name in place else "" for name in head]
            if own[0] not in rows:
                kept.append(own)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *kept, *rows.values()])
    return out.getvalue()


def write_mmsa(experiment: str | Path, report: Report) -> Path:
    """Write or complete ``results/normal/<corpus>.csv`` below `experiment`; returns its path."""
    file = Path(experiment) / "results" / "normal" / f"{report.corpus}.csv"
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    return replace(file, to_mmsa(report, before))


def _name(row: Row) -> str:
    return row.model if row.letters == "TAV" else f"{row.model}_{row.letters}"


def _cell(row: Row, key: str) -> str:
    spread = row.test[key]
    return str((round(100 * spread.mean, 2), round(100 * spread.std, 2)))
