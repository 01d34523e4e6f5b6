"""The result file that MMSA writes, so that our rows stand beside those of that tool.

Layout read from MMSA 2.2.1 (github.com/thuiar/MMSA): ``results/normal/<dataset>.csv``, a row a
model, each cell the text ``(mean, std)`` times 100, population deviation, two decimals. That tool
finds its own row by the model's name and needs its own columns, ``Loss`` among them.
"""

import csv
import io
import re
from pathlib import Path

from ...cache.store.atomic_write import replace
from ...errors import RunError
from ..results import Report, Row

MODEL, LOSS = "Model", "Loss"
KEYS = (
    *("Has0_acc_2", "Has0_F1_score", "Non0_acc_2", "Non0_F1_score"),
    *("Mult_acc_2", "Mult_acc_3", "Mult_acc_5", "Mult_acc_7", "F1_score", "MAE", "Corr"),
)
"""Its columns in its order, of which each corpus has some; the last is the loss."""
OURS = "sedimental-"
"""Begins the names of our rows: those of MMSA's own models are the same otherwise."""
UNFIT = re.compile(r"[^\w.-]+|^\.+")
"""What a name of a corpus may hold and a name of a file in this folder may not."""


def to_mmsa(report: Report, before: str = "") -> str:
    """The file's text: all of `before` (an existing file) that is not ours, and our rows.

    Its columns and their order stay, as that tool appends its rows by place; a column that we have
    not is empty in our rows. MMSA has one row a model: the modalities are added to the name where
    they are not all three. Raises ValueError for a `before` that is no such file.
    """
    keys = [metric.key for metric in report.metrics.metrics]
    theirs = [key for key in KEYS if key in keys] or keys
    lines = [line for line in csv.reader(io.StringIO(before), strict=True) if line]
    head, *kept = lines or [[MODEL, *theirs, LOSS]]
    if MODEL not in head:
        raise ValueError(f"no column {MODEL}")
    place, ours = head.index(MODEL), [_line(row, head) for row in report.rows]
    names = {line[place] for line in ours}
    kept = [line for line in kept if len(line) <= place or line[place] not in names]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *kept, *ours])
    return out.getvalue()


def write_mmsa(experiment: str | Path, report: Report) -> Path:
    """Write or complete ``results/normal/<corpus>.csv`` below `experiment`; returns its path.

    Raises RunError for a file there that is not MMSA's, which is left as it is.
    """
    name = UNFIT.sub("_", report.corpus) or "_"
    file = Path(experiment) / "results" / "normal" / f"{name}.csv"
    try:
        before = file.read_text(encoding="utf-8-sig") if file.is_file() else ""
        text = to_mmsa(report, before)
    except (ValueError, csv.Error) as fault:
        raise RunError(
            f"{file}: not a result file of MMSA ({fault}); nothing was written. Move it away."
        ) from None
    return replace(file, text)


def _line(row: Row, head: list[str]) -> list[str]:
    cells = {key: _cell(row, key) for key in row.test} | {MODEL: _name(row)}
    return [cells.get(column, "") for column in head]


def _name(row: Row) -> str:
    return OURS + (row.model if row.letters == "TAV" else f"{row.model}_{row.letters}")


def _cell(row: Row, key: str) -> str:
    spread = row.test[key]
    return str((round(100 * spread.mean, 2), round(100 * spread.std, 2)))
