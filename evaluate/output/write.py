"""Puts a report beside the runs it tells of: HTML to read, JSON, CSV, Markdown and LaTeX to use."""

import json
from pathlib import Path

from ...cache.store.atomic_write import replace
from ..results import Report
from .html import to_html
from .tables import to_csv, to_latex, to_markdown


def write_report(experiment: str | Path, report: Report) -> Path:
    """Write report.html, report.json, table.csv, table.md and table.tex into `experiment`.

    Each file replaces its predecessor at once, so that a reader never sees half of one. Returns the
    path of report.html.
    """
    folder = Path(experiment)
    files = {
        "report.json": json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n",
        "table.csv": to_csv(report),
        "table.md": to_markdown(report),
        "table.tex": to_latex(report),
        "report.html": to_html(report),
    }
    for name, text in files.items():
        replace(folder / name, text)
    return folder / "report.html"
