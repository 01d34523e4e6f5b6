"""One column of a foreign table as text or numbers, whatever it was written as."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def texts(column: Any) -> list[str]:
    """(N,) text, bytes or numbers, as an array or a list, perhaps each in a list of its own.

    >>> texts(np.array([["a"], ["b"]])), texts([b"c", 4])
    (['a', 'b'], ['c', '4'])
    """
    return [_text(value) for value in column]


def _text(value: Any) -> str:
    while isinstance(value, (list, tuple, np.ndarray)):
        if len(value := np.asarray(value).reshape(-1).tolist()) != 1:
            return " ".join(map(_text, value))
        (value,) = value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def numbers(column: Any) -> list[float | None]:
    """(N, …) numbers, the first of each row; one that is not finite is None.

    What was kept as float32 is the shortest decimal number it stands for, as in label.csv.

    >>> numbers(np.array([[0.1], [np.nan]], np.float32))
    [0.1, None]
    """
    rows = np.asarray(column, np.float64)
    first = rows.reshape(len(rows), -1)[:, 0]
    short = first.astype(np.float32)
    return [
        None if not np.isfinite(wide) else float(str(narrow) if narrow == wide else wide)
        for wide, narrow in zip(first, short, strict=True)
    ]


def frame_rows(column: Any) -> Sequence[NDArray[Any]]:
    """A clip's features (frames, width) each: of (N, T, W), of (N, W), or of a list of (T, W).

    Raises ValueError for anything else.
    """
    if isinstance(column, np.ndarray) and column.dtype != object:
        if column.ndim not in (2, 3) or column.dtype.kind not in "fiu":
            raise ValueError(f"an array {column.shape} of {column.dtype}")
        return np.asarray(column if column.ndim == 3 else column[:, None])  # type: ignore[return-value]
    rows = [np.atleast_2d(np.asarray(row)) for row in column]
    for row in rows:
        if row.ndim != 2 or row.dtype.kind not in "fiu" or row.shape[1] != rows[0].shape[1]:
            raise ValueError(f"a row {row.shape} of {row.dtype}, after one {rows[0].shape}")
    return rows


def width_of(rows: Sequence[NDArray[Any]]) -> int:
    """Numbers in a frame; 0 where there is no row."""
    return int(rows[0].shape[1]) if len(rows) else 0


def real_frames(row: NDArray[Any]) -> int:
    """Frames up to the last one that is not zero everywhere: what comes after is padding.

    >>> real_frames(np.array([[0, 0], [1, 0], [0, 0]]))
    2
    """
    seen = np.flatnonzero(row.any(axis=1))
    return int(seen[-1]) + 1 if len(seen) else 0
