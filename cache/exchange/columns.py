"""One column of a foreign table as text or numbers, whatever it was written as."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF_LETTER = re.compile("[\ud800-\udfff]")
"""A lone surrogate: half a letter, which no file can hold."""
SINGLE = (str, bytes, int, float, np.generic)


class ColumnError(ValueError):
    """What is wrong with a column, in half a sentence."""


def rows_of(column: Any) -> Sequence[Any]:
    """The rows of an array or a list; raises ColumnError for anything else."""
    if isinstance(column, (list, tuple)) or (isinstance(column, np.ndarray) and column.ndim):
        return column  # type: ignore[return-value]
    raise ColumnError(f"is {kind_of(column)}, where a row a clip should be")


def kind_of(value: Any) -> str:
    """What a value is, for an error.

    >>> kind_of(np.zeros((2, 3))), kind_of({})
    ('an array (2, 3) of float64', 'a dict')
    """
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def texts(column: Any) -> list[str]:
    """(N,) text, bytes or numbers, as an array or a list, perhaps each in a list of its own.

    Nothing is "". Raises ColumnError for what is no text.

    >>> texts(np.array([["a"], ["b"]])), texts([b"c", 4, None])
    (['a', 'b'], ['c', '4', ''])
    """
    return [_text(value) for value in rows_of(column)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, SINGLE):
        return str(value)
    if isinstance(value, np.ndarray):
        return " ".join(map(_text, value.reshape(-1).tolist()))
    if isinstance(value, (list, tuple)):
        return " ".join(map(_text, value))
    raise ColumnError(f"holds {kind_of(value)}, where text should be")


def numbers(column: Any) -> list[float | None]:
    """(N, …) numbers, the first of each row; one that is not finite, or is not there, is None.

    What was kept as float32 is the shortest decimal number it stands for, as in label.csv. Raises
    ColumnError for what is no number.

    >>> numbers(np.array([[0.1], [np.nan]], np.float32))
    [0.1, None]
    """
    found = list[float | None]()
    with np.errstate(over="ignore"):
        for row, value in enumerate(_firsts(column)):
            try:
                wide = np.nan if value is None or value == "" else float(value)
            except (TypeError, ValueError, OverflowError):
                raise ColumnError(f"holds {kind_of(value)} in row {row}, no number") from None
            narrow = np.float32(wide)
            short = float(str(narrow)) if narrow == wide else wide
            found.append(short if np.isfinite(wide) else None)
    return found


def lengths(column: Any) -> list[int | str]:
    """Numbers of frames; what is no such number, a negative one included, as it was written."""
    found = list[int | str]()
    for value in _firsts(column):
        try:
            whole = int(value) if float(value) == int(value) else -1
        except (TypeError, ValueError, OverflowError):
            whole = -1
        found.append(whole if 0 <= whole < 2**40 else ascii(value)[:40])
    return found


def _firsts(column: Any) -> Iterator[Any]:
    """Of each row the first value, as plain data."""
    for value in rows_of(column):
        while isinstance(value, (list, tuple, np.ndarray)):
            flat = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
            value = flat[0] if len(flat) else None
        yield value.item() if isinstance(value, np.generic) else value


def frame_rows(column: Any) -> Sequence[NDArray[Any]]:
    """A clip's features (frames, width) each: of (N, T, W), of (N, W), or of a list of (T, W).

    Raises ColumnError for anything else.
    """
    rows = rows_of(column)
    if isinstance(column, np.ndarray) and column.dtype != object:
        if not len(column):
            return ()
        if column.ndim not in (2, 3) or column.dtype.kind not in "fiu":
            raise ColumnError(f"is {kind_of(column)}, where (clips, frames, width) should be")
        return np.asarray(column if column.ndim == 3 else column[:, None])  # type: ignore[return-value]
    found, width = list[NDArray[Any]](), 0
    for number, value in enumerate(rows):
        try:
            row = np.asarray(value)
        except ValueError:  # lists of different lengths
            raise ColumnError(f"has rows of different widths within clip {number}") from None
        row = np.atleast_2d(row) if row.size else np.zeros((0, width))
        width = width or row.shape[-1]
        if row.ndim != 2 or row.dtype.kind not in "fiu" or (len(row) and row.shape[1] != width):
            raise ColumnError(
                f"has {kind_of(row)} in row {number}, not (frames, {width or 'width'})"
            )
        found.append(row)
    return [row if len(row) else np.zeros((0, width)) for row in found]


def width_of(rows: Sequence[NDArray[Any]]) -> int:
    """Numbers in a frame; 0 where there is no row."""
    return int(rows[0].shape[1]) if len(rows) else 0
