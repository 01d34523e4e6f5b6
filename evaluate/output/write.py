"""Puts a report beside the runs it tells of: HTML to read, JSON, CSV, Markdown and LaTeX to use."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ...cache.store import atomic_write
from ..figures.canvas import to_files
from ..results import Report
from .html import Drawings, draw, to_html
from .tables import to_csv, to_latex, to_markdown


def write_report(experiment: str | Path, report: Report, files: bool = False) -> Path:
    """Write report.html, report.json, table.csv, table.md and table.tex into `experiment`.

    With `files`, or where the folder has ``figures`` already, each figure as ``<key>.png`` and
    ``.pdf`` in it as well, which the page links.
    Each file replaces its predecessor at once, so that a reader never sees half of one; where all
    say the same already but for the moment, nothing is written. Returns the path of report.html.
    """
    folder, drawn = Path(experiment), draw(report)
    shown = [one for one in drawn.all if one.svg]
    names = {one.key: [f"figures/{one.key}.{kind}" for kind in ("png", "pdf")] for one in shown}
    files = files or (folder / "figures").is_dir()  # what lies there must not grow stale
    exported = names if files else {}
    if (moment := _moment(folder)) is not None:
        earlier = replace(report, provenance=replace(report.provenance, written=moment))
        texts = _files(earlier, drawn, exported)
        there = all((folder / file).is_file() for each in exported.values() for file in each)
        if there and all(atomic_write.holds(folder / name, text) for name, text in texts.items()):
            return folder / "report.html"
    for one in shown if files else ():
        for kind, data in to_files(one.figure).items():
            atomic_write.replace(folder / f"figures/{one.key}.{kind}", data)
    for name, text in _files(report, drawn, exported).items():
        atomic_write.replace(folder / name, text)
    return folder / "report.html"


def _files(report: Report, drawn: Drawings, exported: Collection[str]) -> Mapping[str, str]:
    return {
        "report.json": json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n",
        "table.csv": to_csv(report),
        "table.md": to_markdown(report),
        "table.tex": to_latex(report),
        "report.html": to_html(report, drawn, exported),
    }


def _moment(folder: Path) -> str | None:
    """When the report that lies in `folder` was written."""
    try:
        found = json.loads((folder / "report.json").read_bytes())["provenance"]["written"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
