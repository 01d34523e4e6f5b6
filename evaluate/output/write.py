"""Puts a report beside the runs it tells of: HTML to read, JSON, CSV, Markdown and LaTeX to use."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...cache.store import atomic_write
from ..results import Report
from .html import to_html
from .tables import to_csv, to_latex, to_markdown


def write_report(experiment: str | Path, report: Report) -> Path:
    """Write report.html, report.json, table.csv, table.md and table.tex into `experiment`.

    Each file replaces its predecessor at once, so that a reader never sees half of one; where all
    say the same already but for the moment, nothing is written. Returns the path of report.html.
    """
    folder = Path(experiment)
    if (moment := _moment(folder)) is not None:
        earlier = replace(report, provenance=replace(report.provenance, written=moment))
        if all(atomic_write.holds(folder / name, text) for name, text in _files(earlier).items()):
            return folder / "report.html"
    for name, text in _files(report).items():
        atomic_write.replace(folder / name, text)
    return folder / "report.html"


def _files(report: Report) -> Mapping[str, str]:
    return {
        "report.json": json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n",
        "table.csv": to_csv(report),
        "table.md": to_markdown(report),
        "table.tex": to_latex(report),
        "report.html": to_html(report),
    }


def _moment(folder: Path) -> str | None:
    """When the report that lies in `folder` was written."""
    try:
        found = json.loads((folder / "report.json").read_bytes())["provenance"]["written"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None
