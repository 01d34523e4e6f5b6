"""What `sedimental cache` shows a person: rich tables made of plain values."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ..escape import for_terminal
from .store.verify import Verdict
from .summary import size_text, weights_text

NUMBERS = {"layers", "clips", "frames", "size", "held", "failed", "mean", "std", "largest"}
"""Columns set flush right."""


def stores_table(lines: Iterable[Mapping[str, Any]]) -> Table:
    """A row a store of `cache ls`."""
    columns = ("store", "made with", "weights", "layers", "clips", "frames", "size")
    table = _table(*columns, "format", "state")
    for line in lines:
        if "fault" in line:
            _row(table, line["name"], *[""] * 7, "cannot be opened")
            continue
        failed = f" ({line['failed']} failed)" if line["failed"] else ""
        _row(
            table,
            line["name"],
            ", ".join(f"{key} {value}" for key, value in line["settings"].items()),
            weights_text(line),
            *(line["layers"], f"{line['clips']}{failed}", line["frames"]),
            *(size_text(line["bytes"]), ", ".join(line["formats"]), _state(line)),
        )
    return table


def store_tables(found: Mapping[str, Any]) -> list[Table]:
    """All of `cache info`: the store, its splits, its layers, its failures."""
    spec = found["spec"]
    head = _table("store", found["path"])
    rows = {
        "encoder": f"{spec['modality']} {spec['encoder']} ({spec['source']})",
        "weights": weights_text(found),
        "revision": spec["revision"] or "-",
        "layers": f"{', '.join(spec['layers'])} (width {spec['width']}, {spec['dtype']})",
        "holds": f"{found['clips']} clips, {found['frames']} frames, {size_text(found['bytes'])} "
        f"in {found['parts']} parts ({', '.join(found['formats']) or 'empty'})",
        "state": _state(found),
        "side arrays": ", ".join(found["side_arrays"]),
        "fingerprint": found["fingerprint"],
    }
    rows |= {f"  {key}": value for key, value in spec["preprocessing"].items()}
    rows |= {f"  ({key})": value for key, value in spec["recorded"].items()}
    for key, value in rows.items():
        _row(head, key, value)
    coverage = _table("split", "clips", "held", "failed")
    for split, count in (found["coverage"] or {}).items():
        _row(coverage, split, count["clips"], count["held"], count["failed"])
    layers = _table("layer", "mean", "std", "largest")
    for name, one in found["statistics"].items():
        _row(layers, name, *(f"{one[key]:.4g}" for key in ("mean", "std", "absmax")))
    failures = _table("failed clip", "reason")
    for clip, reason in found["failures"].items():
        _row(failures, clip, reason)
    return [table for table in (head, coverage, layers, failures) if table.row_count]


def damage_table(verdict: Verdict) -> Table:
    """A row a fault that `cache verify` found."""
    table = _table("file", "damage", "affected clips")
    for one in verdict.damage:
        more = f" and {len(one.clips) - 3} more" if len(one.clips) > 3 else ""
        _row(table, one.file.name, one.what, ", ".join(one.clips[:3]) + more)
    return table


def _state(line: Mapping[str, Any]) -> str:
    return "complete" if line["complete"] else "incomplete"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left")
    return table


def _row(table: Table, *cells: object) -> None:
    styles = {"incomplete": "yellow", "cannot be opened": "red"}
    # as Text: clip names and reasons may look like markup
    table.add_row(*(Text(for_terminal(str(cell)), styles.get(str(cell), "")) for cell in cells))
