"""A label table read row by row; every fault of it in one answer, with its line number."""

import csv
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...cache.manifest import Clip, Manifest, contexts
from ...cache.spec import SPLIT_NAMES, Split
from ...errors import ManifestError

MOST_FAULTS = 50
"""Faults printed at once; the rest are counted."""


Line = int | str
"""Where in its file a clip stands: a line number, or words like "entry 3"."""


@dataclass
class Faults:
    """Collects what is wrong with a table, to be said once."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, line: Line, message: str) -> None:
        """Note a fault of one line, or of an entry that has a name where others have a line."""
        place = f"line {line}" if isinstance(line, int) else line
        self.found.append(f"{self.path}: {place}: {message}")

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

    line: Line
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

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        """The cell as one of `allowed`, in lower case; a fault otherwise."""
        value = self.required(column).lower()
        if value and value not in allowed:
            close = difflib.get_close_matches(value, allowed, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            self.faults.add(
                self.line, f"{column} is {value!r}, not one of {', '.join(allowed)}.{hint}"
            )
        return value

    def split(self, column: str) -> Split:
        """The cell as train, valid or test (val, dev, … are accepted); a fault otherwise."""
        value = self.required(column)
        if value and value.lower() not in SPLIT_NAMES:
            close = difflib.get_close_matches(value.lower(), SPLIT_NAMES, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            self.faults.add(self.line, f"{column} is {value!r}, not train, valid or test.{hint}")
        return SPLIT_NAMES.get(value.lower(), "train")


def read_rows(
    path: Path,
    faults: Faults,
    required: Sequence[str],
    encodings: Sequence[str] = ("utf-8-sig",),
) -> Iterator[Row]:
    """Rows of a comma, semicolon or tab separated table with a head line (UTF-8, BOM or not).

    The file is read in the first of `encodings` that fits it. Raises ManifestError if the file is
    missing, empty, not text, or lacks a required column.
    """
    try:
        with path.open(encoding=_encoding(path, encodings), newline="") as file:
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


def finished(
    corpus: str, root: Path, rows: Sequence[tuple[Line, Clip]], faults: Faults
) -> Manifest:
    """The manifest of `rows` (line, clip), with each clip's context; raises every fault at once."""
    return combined(corpus, root, [(rows, faults)])


def combined(
    corpus: str, root: Path, tables: Sequence[tuple[Sequence[tuple[Line, Clip]], Faults]]
) -> Manifest:
    """The manifest of several tables, each with its faults; raises those of all at once."""
    first: dict[str, Line] = {}
    for rows, faults in tables:
        for line, clip in rows:
            if clip.id in first:
                place = first[clip.id]
                place = f"line {place}" if isinstance(place, int) else place
                faults.add(line, f"{clip.id} stands already in {place}.")
            first.setdefault(clip.id, line)
            if clip.start is not None and clip.end is not None and clip.end <= clip.start:
                faults.add(line, f"end {clip.end} is not after start {clip.start}.")
        if not rows and not faults.found:
            faults.add(2, "the table has no rows.")
    every = Faults(root, [fault for _, faults in tables for fault in faults.found])
    every.stop()
    clips = [clip for rows, _ in tables for _, clip in rows]
    context = contexts(clips)
    return Manifest(corpus, root, tuple(replace(c, context=context[c.id]) for c in clips))


def first_file(folder: Path, name: str, places: Sequence[str]) -> Path:
    """The file `name` in the first of `places` below `folder` that has it; else ManifestError."""
    found = next((p for p in (folder / place / name for place in places) if p.is_file()), None)
    if found is None:
        looked = ", ".join(str(Path(place) / name) for place in places)
        raise ManifestError(
            f"{folder}: no {name} in this folder (looked for {looked}). Check corpus.path in "
            "pipeline.toml: it is the folder that the corpus was unpacked to."
        )
    return found


def _encoding(path: Path, encodings: Sequence[str]) -> str:
    """The first encoding that the whole file can be read in; the last if none, for its error."""
    for encoding in encodings[:-1]:
        try:
            path.read_text(encoding=encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return encodings[-1]
