"""One sequence on the time steps of another: what overlaps a step is collapsed into one row."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Collapse = Callable[[NDArray[Any], NDArray[np.float64]], NDArray[Any]]
"""Rows (k, width) and the seconds that each overlaps the step (k,) to one row (width,)."""

COLLAPSE: Mapping[str, Collapse] = {
    "mean": lambda rows, seconds: rows.mean(axis=0),
    "weighted": lambda rows, seconds: np.average(rows, axis=0, weights=seconds),
    "max": lambda rows, seconds: rows.max(axis=0),
    "min": lambda rows, seconds: rows.min(axis=0),
    "sum": lambda rows, seconds: rows.sum(axis=0),
    "first": lambda rows, seconds: rows[0],
    "last": lambda rows, seconds: rows[-1],
}
"""How the rows of a step become one; ``weighted`` is the mean by seconds of overlap."""


def align(
    values: NDArray[Any],
    intervals: NDArray[np.float64],
    steps: NDArray[np.float64],
    collapse: Collapse,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(steps, width) and whether anything overlapped each step, (steps,); zeros where nothing did.

    `values` (rows, width) lie at `intervals` (rows, 2), `steps` (steps, 2) are those of the
    reference, all in seconds. A row without length overlaps the step that it lies in.

    >>> values, intervals = np.array([[1.0], [3.0], [9.0]]), np.array([[0, 1], [1, 2], [5, 6.0]])
    >>> align(values, intervals, np.array([[0, 2], [3, 4.0]]), COLLAPSE["mean"])[0].tolist()
    [[2.0], [0.0]]
    """
    found = np.zeros((len(steps), values.shape[1]), np.float32)
    seen = np.zeros(len(steps), np.bool_)
    begins, ends = intervals[:, 0], intervals[:, 1]
    for number, (begin, end) in enumerate(steps):
        seconds = np.minimum(ends, end) - np.maximum(begins, begin)
        points = (begins == ends) & (begins >= begin) & (begins < end)
        here = (seconds > 0) | points
        if here.any():
            weights = np.where(points, 1e-9, seconds)[here]
            found[number], seen[number] = collapse(values[here], weights), True
    return found, seen
