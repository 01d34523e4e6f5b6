"""A label table read row by row; every fault of it in one answer, with its line number."""

import csv
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...cache.errors import ManifestError
from ...cache.manifest import Clip, Manifest
from ...cache.spec import Split

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
MOST_FAULTS = 50
"""Faults printed at once; the rest are counted."""


@dataclass
class Faults:
    """Collects what is wrong with a table, to be said once."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        """Note a fault of one line."""
        self.found.append(f"{self.path}: line {line}: {message}")

    def stop(self) -> None:
        """Raise ManifestError if anything was noted."""
        if self.found:
            shown = self.found[:MOST_FAULTS]
            if len(self.found) > MOST_FAULTS:
                shown.append(f"{self.path}: and {len(self.found) - MOST_FAULTS} more faults.")
            raise ManifestError("\n".join(shown))


@dataclass(frozen=True)
class Row:
    """One line of the table; cells are stripped, an empty cell reads as absent."""

    line: int
    cells: Mapping[str, str]
    faults: Faults

    def text(self, column: str) -> str | None:
        """The cell, or None."""
        return self.cells.get(column) or None

    def required(self, column: str) -> str:
        """The cell; a fault if it is empty."""
        if not (value := self.text(column)):
            self.faults.add(self.line, f"{column} is empty.")
        return value or ""

    def number(self, column: str) -> float | None:
        """The cell as a finite number, or None; a fault if it is anything else."""
        value = self.text(column)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.faults.add(self.line, f"{column} is {value!r}, not a number.")
            return None
        return number

    def split(self, column: str) -> Split:
        """The cell as train, valid or test (val, dev, … are accepted); a fault otherwise."""
        value = self.required(column)
        if value and value.lower() not in SPLIT_NAMES:
            close = difflib.get_close_matches(value.lower(), SPLIT_NAMES, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            self.faults.add(self.line, f"{column} is {value!r}, not train, valid or test.{hint}")
        return SPLIT_NAMES.get(value.lower(), "train")


def read_rows(path: Path, faults: Faults, required: Sequence[str]) -> Iterator[Row]:
    """Rows of a comma, semicolon or tab separated table with a head line (UTF-8, BOM or not).

    Raises ManifestError if the file is missing, empty, not text, or lacks a required column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.readline()
            file.seek(0)
            mark = max(",;\t", key=sample.count)
            table = csv.reader(file, delimiter=mark)
            head = [name.strip() for name in next(table, [])]
            for column in required:
                if column not in head:
                    close = difflib.get_close_matches(column, head, n=1, cutoff=0.5)
                    hint = f' Is it the one called "{close[0]}"?' if close else ""
                    faults.add(1, f"no column {column!r} among {', '.join(head)}.{hint}")
            faults.stop()
            begins = table.line_num + 1
            for cells in table:
                # a quoted cell may span lines: the row is named by the one it begins on
                line, begins = begins, table.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(head):
                    faults.add(
                        line,
                        f"{len(cells)} cells where the head line has {len(head)}; "
                        "a text with a comma in it needs quotes.",
                    )
                    continue
                yield Row(line, {k: c.strip() for k, c in zip(head, cells, strict=True)}, faults)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such table. Check corpus.path in pipeline.toml.") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise ManifestError(f"{path}: not a UTF-8 table: {fault}. Save it as CSV UTF-8.") from None


def finished(corpus: str, root: Path, rows: Sequence[tuple[int, Clip]], faults: Faults) -> Manifest:
    """The manifest of `rows` (line, clip), with each clip's context; raises every fault at once."""
    first: dict[str, int] = {}
    before: dict[str, list[str]] = {}
    clips = []
    for line, clip in rows:
        if clip.id in first:
            faults.add(line, f"{clip.id} stands already in line {first[clip.id]}.")
        first.setdefault(clip.id, line)
        if clip.start is not None and clip.end is not None and clip.end <= clip.start:
            faults.add(line, f"end {clip.end} is not after start {clip.start}.")
        earlier = before.setdefault(clip.video_id, [])
        clips.append(replace(clip, context=tuple(earlier)))
        earlier.append(clip.id)
    if not rows and not faults.found:
        faults.add(2, "the table has no rows.")
    faults.stop()
    return Manifest(corpus, root, tuple(clips))
