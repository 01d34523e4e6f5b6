"""Whether the labels of a foreign file are scores or classes: seen from them, or as asked."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..spec import Split
from .columns import ColumnError, numbers, rows_of

LabelKind = Literal["scores", "classes"]
NAME = "regression_labels"
PAIRS = ({0.0, 1.0}, {-1.0, 1.0})
"""Values that are two classes where there are no others: humor, sarcasm."""


class Labels:
    """The labels of all splits of a file, as scores or as classes."""

    def __init__(self, columns: Mapping[Split, Any], asked: LabelKind | None = None) -> None:
        """Raises ColumnError for what is neither."""
        self.notes: list[str] = []
        self._scores: dict[Split, list[float | None]] = {}
        self._classes: dict[Split, list[str]] = {}
        hot = {split: _one_hot(column) for split, column in columns.items()}
        if columns and asked != "scores" and all(own is not None for own in hot.values()):
            self._classes = {s: [str(k) for k in own] for s, own in hot.items() if own is not None}
            self._say("have a one in one of several places")
            return
        for split, column in columns.items():
            try:
                self._scores[split] = numbers(column)
            except ColumnError as fault:
                raise ColumnError(f"{split}: {NAME} {fault}") from None
        values = {v for own in self._scores.values() for v in own if v is not None}
        if asked == "classes" or (asked is None and values in PAIRS):
            if odd := next((v for v in sorted(values) if v != int(v)), None):
                raise ColumnError(f"{NAME} has the value {odd}, which is no class")
            self._classes = {
                s: ["" if v is None else str(int(v)) for v in own]
                for s, own in self._scores.items()
            }
            self._scores = {}
            if asked is None:
                self._say(f"are {' and '.join(str(int(v)) for v in sorted(values))} alone")

    def score(self, split: Split, number: int) -> float | None:
        """The score of a clip."""
        return self._scores[split][number] if split in self._scores else None

    def category(self, split: Split, number: int) -> str | None:
        """The class of a clip."""
        return (self._classes[split][number] or None) if split in self._classes else None

    def _say(self, why: str) -> None:
        self.notes.append(f"its labels {why}: taken for classes (`--labels scores` for numbers).")


def _one_hot(column: Any) -> NDArray[np.int64] | None:
    """(N,) the place of the one in each row (N, C) of zeros, or (N, C, 2) of no and yes."""
    try:
        values = np.asarray(rows_of(column), np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if values.ndim == 3 and values.shape[1:] != (1, 1) and values.shape[2] == 2:  # MulT's IEMOCAP
        values = values[..., 1] * (values.sum(axis=2) == 1)
    if not len(values):
        return np.zeros(0, np.int64)
    values = values.reshape(len(values), -1)
    if values.shape[1] < 2:
        return None
    ones = (values == 1).sum(axis=1)
    zeros = (values == 0).sum(axis=1)
    fits = bool(((ones == 1) & (zeros == values.shape[1] - 1)).all())
    return values.argmax(axis=1) if fits else None
