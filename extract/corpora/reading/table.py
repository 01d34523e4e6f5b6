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
from ....errors import ManifestError
from .csv_rows import delimiter, rows
from .files import read_text

NUMBER = re.compile(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$", re.ASCII)
"""A number as tables have it: Python would read ``1_0`` and full-width digits as well."""
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
        number = float(value) if NUMBER.match(value) else math.nan
        if not math.isfinite(number):
            self.faults.add(
                self.line, f"{column} is {value!r}, not a number.{_number_hint(column, value)}"
            )
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
    required: Sequence[str | tuple[str, ...]],
    encodings: Sequence[str] = ("utf-8",),
    names: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
) -> Iterator[Row]:
    """Rows of a comma, semicolon or tab separated table with a head line (BOM or not).

    The file is read in the first of `encodings` that fits it, or in UTF-16 where it says so.
    `names` tells, given the head line, what some of its columns are called here; of a tuple of
    `required` columns one is. Raises ManifestError if the file is missing, empty, not text, or
    lacks a required column.
    """
    text = read_text(path, encodings, "Save it as CSV UTF-8.")
    mark = delimiter(text)
    begins = rows(text, mark, faults.add, lambda cells: False)
    head = [name.strip() for name in next(begins, (1, []))[1]]
    renamed = names(head) if names else {}
    head = [renamed.get(name, name) for name in head]
    _check_head(head, required, faults)
    faults.stop()
    table = rows(text, mark, faults.add, lambda cells: _is_row(head, cells))
    for line, cells in islice(table, 1, None):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            faults.add(
                line,
                f"{len(cells)} cells where the head line has {len(head)}; "
                "a text with a comma in it needs quotes.",
            )
        elif (cell := next((k for k, c in enumerate(cells) if "\0" in c), None)) is not None:
            faults.add(line, f"{head[cell]} holds a NUL character; is the file damaged?")
        else:
            yield Row(line, {k: c.strip() for k, c in zip(head, cells, strict=True)}, faults)


def _check_head(
    head: Sequence[str], required: Sequence[str | tuple[str, ...]], faults: Faults
) -> None:
    for column in required:
        choices = (column,) if isinstance(column, str) else column
        begins = tuple(choice for choice in choices if choice.endswith("_"))
        if not set(choices) & set(head) and not any(c.startswith(begins) for c in head if begins):
            close = [c for k in choices for c in difflib.get_close_matches(k, head, 1, 0.5)]
            hint = f' Is it the one called "{close[0]}"?' if close else ""
            wanted = " or ".join(map(repr, choices[:2]))  # the usual ones
            faults.add(1, f"no column {wanted} among {', '.join(head)}.{hint}")
    for column, count in Counter(name for name in head if name).items():
        if count > 1:
            faults.add(1, f"{count} columns are called {column!r}; keep one of them.")


def _is_row(head: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether `cells` can be a row under `head`: as many, with split and numbers in place."""
    if len(cells) != len(head):
        return False
    told = {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
    splits = [told[k].lower() in SPLIT_NAMES for k in ("split", "mode") if told.get(k)]
    numbers = [bool(NUMBER.match(told[k])) for k in ("label", "start", "end") if told.get(k)]
    return bool(splits or numbers) and all(splits + numbers)


def finished(
    corpus: str,
    root: Path,
    rows: Sequence[tuple[Line, Clip]],
    faults: Faults,
    notes: Sequence[str] = (),
) -> Manifest:
    """The manifest of `rows` (line, clip), with each clip's context; raises every fault at once."""
    return combined(corpus, root, [(rows, faults)], notes)


def combined(
    corpus: str,
    root: Path,
    tables: Sequence[tuple[Sequence[tuple[Line, Clip]], Faults]],
    notes: Sequence[str] = (),
) -> Manifest:
    """The manifest of several tables, each with its faults; raises those of all at once."""
    first: dict[str, tuple[Line, str]] = {}
    for rows_, faults in tables:
        for line, clip in rows_:
            _check_clip(line, clip, faults)
            place, known = first.setdefault(same_id(clip.id), (line, clip.id))
            if (place, known) != (line, clip.id):
                place = f"line {place}" if isinstance(place, int) else place
                alike = "" if known == clip.id else ", in other characters that look the same"
                faults.add(line, f"{clip.id} stands already in {place}{alike}.")
        if not rows_ and not faults.found:
            faults.add(2, "the table has no rows.")
    every = Faults(root, [fault for _, faults in tables for fault in faults.found])
    every.stop()
    clips = [clip for rows, _ in tables for _, clip in rows]
    context = contexts(clips)
    placed = tuple(replace(clip, context=context[clip.id]) for clip in clips)
    return Manifest(corpus, root, placed, notes=tuple(notes))


def _check_clip(line: Line, clip: Clip, faults: Faults) -> None:
    """Faults that no single cell shows, or that no kind of table may have."""
    if clip.start is not None and clip.start < 0:
        faults.add(line, f"start {clip.start} is before the file begins.")
    if clip.start is not None and clip.end is not None and clip.end <= clip.start:
        faults.add(line, f"end {clip.end} is not after start {clip.start}.")
    if clip.start is None and clip.end is not None and clip.end <= 0:
        faults.add(line, f"end {clip.end} is not after the beginning.")
    for name in ("id", "media", "speaker", "category", "text"):
        value = getattr(clip, name) or ""
        kinds = {unicodedata.category(c) for c in value}
        if "Cs" in kinds:
            faults.add(line, f"{name} holds half of a character (a lone surrogate).")
        elif "Cc" in kinds and name != "text":
            faults.add(line, f"{name} is {value!r}, with a control character in it.")


def _number_hint(column: str, value: str) -> str:
    if re.match(r"^[+-]?\d+,\d+$", value, re.ASCII):
        return f" Write {value.replace(',', '.')}, with a point."
    if column == "label" and re.match(r"^[^\W\d_]{3,}$", value) and value.lower() != "nan":
        return ' Classes by name stand in a column "class".'
    return ""
