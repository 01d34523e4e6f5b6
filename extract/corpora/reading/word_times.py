"""Word times in a cell of a table: a JSON list, or ``word:start:end`` one after the other."""

import json
import math
from typing import Any

from ....cache.alignment.word import Word
from .table import Row

HOW = 'write [["word", start, end], …] or word:start:end …, in seconds'


def read_cell(cell: str) -> tuple[Word, ...]:
    """The words of a cell; a word without times has null, or nothing behind its colons.

    Raises ValueError saying what is wrong.

    >>> read_cell("so:0.1:0.4 what::")
    (Word(text='so', start=0.1, end=0.4, begins=-1, ends=-1), Word(text='what', start=None, \
end=None, begins=-1, ends=-1))
    >>> read_cell('[["so", 0, 1]]')[0].end
    1.0
    """
    if not cell.lstrip().startswith("["):
        return tuple(_checked(part.rsplit(":", 2)) for part in cell.split())
    try:
        rows = json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"is no JSON; {HOW}") from None
    return tuple(_checked(row) for row in rows)


def read_words(row: Row) -> tuple[Word, ...]:
    """Those of the column ``word_times``; none where it is empty, a fault where it is wrong."""
    try:
        return read_cell(row.text("word_times") or "")
    except ValueError as fault:
        row.fault(f"word_times {fault}.")
        return ()


def _checked(row: Any) -> Word:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[0], str):
        raise ValueError(f"has {row!r}, which is no word with two times; {HOW}")
    start, end = _second(row[1], row), _second(row[2], row)
    if (start is None) != (end is None):
        raise ValueError(f"has {row!r}, with one time of two; {HOW}")
    if start is not None and end is not None and not 0 <= start <= end:
        raise ValueError(f"has {row!r}, which ends before it begins")
    return Word(row[0], start, end)


def _second(value: Any, row: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"has {row!r}: {value!r} is no number of seconds; {HOW}")
    return number
