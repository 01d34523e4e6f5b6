"""A label table read row by row; every fault of it in one answer, with its line number."""

import difflib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ....cache.corpus.words import same_id
from ....cache.manifest import Clip, Manifest, contexts
from ....cache.spec import SPLIT_NAMES, Split
from ....config import nearest
from ....errors import ManifestError
from .csv_rows import delimiter, rows
from .files import by_hash, read_text

NUMBER = re.compile(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$", re.ASCII)
"""A number as tables have it: Python would read ``1_0`` and full-width digits as well."""
MOST_FAULTS = 50
"""Faults printed at once; the rest are counted."""

Line = int | str
"""Where in its file a clip stands: a line number, or words like "entry 3"."""


@dataclass
class Table:
    """The clips of one table, and all that is wrong with it, to be said at once."""

    path: Path
    clips: list[tuple[Line, Clip]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, line: Line, clip: Clip) -> None:
        """Take in the clip of one line."""
        self.clips.append((line, clip))

    def fault(self, line: Line, message: str) -> None:
        """Note a fault of one line, or of an entry that has a name where others have a line."""
        self.faults.append(f"{self.path}: {_place(line)}: {message}")

    def stop(self) -> None:
        """Raise ManifestError if anything was noted."""
        if self.faults:
            shown = self.faults[:MOST_FAULTS]
            if len(self.faults) > MOST_FAULTS:
                shown.append(f"{self.path}: and {len(self.faults) - MOST_FAULTS} more faults.")
            raise ManifestError("\n".join(shown))

    def validate_on_a_tenth(self) -> None:
        """Make a tenth of the clips validation clips: the first in order of their ids' hashes."""
        ids = by_hash(clip.id for _, clip in self.clips)
        held_out = frozenset(ids[: max(1, round(len(ids) / 10))])
        self.clips = [
            (line, replace(clip, split="valid") if clip.id in held_out else clip)
            for line, clip in self.clips
        ]

    def rows(
        self,
        required: Sequence[str | tuple[str, ...]],
        encodings: Sequence[str] = ("utf-8",),
        names: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
    ) -> Iterator["Row"]:
        """Rows of a comma, semicolon or tab separated table with a head line (BOM or not).

        The file is read in the first of `encodings` that fits it, or in UTF-16 where it says so.
        `names` tells, given the head line, what some of its columns are called here; of a tuple of
        `required` columns one is. Raises ManifestError if the file is missing, empty, not text, or
        lacks a required column.
        """
        text = read_text(self.path, encodings, "Save it as CSV UTF-8.")
        mark = delimiter(text)
        begins = rows(text, mark, self.fault, lambda cells: False)
        head = [name.strip() for name in next(begins, (1, []))[1]]
        renamed = names(head) if names else {}
        head = [renamed.get(name, name) for name in head]
        self._check_head(head, required)
        self.stop()
        table = rows(text, mark, self.fault, lambda cells: _is_row(head, cells))
        for line, cells in islice(table, 1, None):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(head):
                self.fault(
                    line,
                    f"{len(cells)} cells where the head line has {len(head)}; "
                    "a text with a comma in it needs quotes.",
                )
            elif (cell := next((k for k, c in enumerate(cells) if "\0" in c), None)) is not None:
                self.fault(line, f"{head[cell]} holds a NUL character; is the file damaged?")
            else:
                yield Row(line, {k: c.strip() for k, c in zip(head, cells, strict=True)}, self)

    def _check_head(self, head: Sequence[str], required: Sequence[str | tuple[str, ...]]) -> None:
        for column in required:
            choices = (column,) if isinstance(column, str) else column
            begins = tuple(choice for choice in choices if choice.endswith("_"))
            there = any(name.startswith(begins) for name in head if begins)
            if not set(choices) & set(head) and not there:
                close = [c for k in choices for c in difflib.get_close_matches(k, head, 1, 0.5)]
                hint = f' Is it the one called "{close[0]}"?' if close else ""
                wanted = " or ".join(map(repr, choices[:2]))  # the usual ones
                self.fault(1, f"no column {wanted} among {', '.join(head)}.{hint}")
        for column, count in Counter(name for name in head if name).items():
            if count > 1:
                self.fault(1, f"{count} columns are called {column!r}; keep one of them.")


@dataclass(frozen=True)
class Row:
    """One line of the table; cells are stripped, an empty cell reads as absent."""

    line: Line
    cells: Mapping[str, str]
    table: Table

    def fault(self, message: str) -> None:
        """Note a fault of this line."""
        self.table.fault(self.line, message)

    def text(self, column: str) -> str | None:
        """The cell, or None."""
        return self.cells.get(column) or None

    def required(self, column: str) -> str:
        """The cell; a fault if it is empty."""
        if not (value := self.text(column)):
            self.fault(f"{column} is empty.")
        return value or ""

    def number(self, column: str) -> float | None:
        """The cell as a finite number, or None; a fault if it is anything else."""
        value = self.text(column)
        if value is None:
            return None
        number = float(value) if NUMBER.match(value) else math.nan
        if not math.isfinite(number):
            self.fault(f"{column} is {value!r}, not a number.{_number_hint(column, value)}")
            return None
        return number

    def choice(self, column: str, allowed: Sequence[str]) -> str:
        """The cell as one of `allowed`, in lower case; a fault otherwise."""
        value = self.required(column).lower()
        if value and value not in allowed:
            known = ", ".join(allowed)
            self.fault(f"{column} is {value!r}, not one of {known}.{nearest(value, allowed)}")
        return value

    def split(self, column: str) -> Split:
        """The cell as train, valid or test (val, dev, … are accepted); a fault otherwise."""
        value = self.required(column)
        if value and value.lower() not in SPLIT_NAMES:
            hint = nearest(value.lower(), SPLIT_NAMES)
            self.fault(f"{column} is {value!r}, not train, valid or test.{hint}")
        return SPLIT_NAMES.get(value.lower(), "train")


def named(video: str, clip: str = "0") -> tuple[str, str, str]:
    """Id, video and clip of a `Clip`; a clip that is all of its video is called "0"."""
    return f"{video}$_${clip}", video, clip


def _is_row(head: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether `cells` can be a row under `head`: as many, with split and numbers in place."""
    if len(cells) != len(head):
        return False
    row = {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
    splits = [row[k].lower() in SPLIT_NAMES for k in ("split", "mode") if row.get(k)]
    numbers = [bool(NUMBER.match(row[k])) for k in ("label", "start", "end") if row.get(k)]
    return bool(splits or numbers) and all(splits + numbers)


def finished(corpus: str, root: Path, *tables: Table, notes: Sequence[str] = ()) -> Manifest:
    """The manifest of all clips of `tables`, each with its context.

    Raises ManifestError with the faults of all tables at once.
    """
    first: dict[str, tuple[Line, str]] = {}
    for table in tables:
        for line, clip in table.clips:
            _check_clip(line, clip, table)
            before, known = first.setdefault(same_id(clip.id), (line, clip.id))
            if (before, known) != (line, clip.id):
                alike = "" if known == clip.id else ", in other characters that look the same"
                table.fault(line, f"{clip.id} stands already in {_place(before)}{alike}.")
        if not table.clips and not table.faults:
            table.fault(2, "the table has no rows.")
    Table(root, faults=[fault for table in tables for fault in table.faults]).stop()
    clips = [clip for table in tables for _, clip in table.clips]
    context = contexts(clips)
    placed = tuple(replace(clip, context=context[clip.id]) for clip in clips)
    return Manifest(corpus, root, placed, notes=tuple(notes))


def _place(line: Line) -> str:
    return f"line {line}" if isinstance(line, int) else line


def _check_clip(line: Line, clip: Clip, table: Table) -> None:
    """Faults that no single cell shows, or that no kind of table may have."""
    if clip.start is not None and clip.start < 0:
        table.fault(line, f"start {clip.start} is before the file begins.")
    if clip.start is not None and clip.end is not None and clip.end <= clip.start:
        table.fault(line, f"end {clip.end} is not after start {clip.start}.")
    if clip.start is None and clip.end is not None and clip.end <= 0:
        table.fault(line, f"end {clip.end} is not after the beginning.")
    for name in ("id", "media", "speaker", "category", "text"):
        value = getattr(clip, name) or ""
        kinds = {unicodedata.category(c) for c in value}
        if "Cs" in kinds:
            table.fault(line, f"{name} holds half of a character (a lone surrogate).")
        elif "Cc" in kinds and name != "text":
            table.fault(line, f"{name} is {value!r}, with a control character in it.")


def _number_hint(column: str, value: str) -> str:
    if re.match(r"^[+-]?\d+,\d+$", value, re.ASCII):
        return f" Write {value.replace(',', '.')}, with a point."
    if column == "label" and re.match(r"^[^\W\d_]{3,}$", value) and value.lower() != "nan":
        return ' Classes by name stand in a column "class".'
    return ""
