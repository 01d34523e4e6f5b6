"""A probe's score on clips it has not seen, fold by fold, from one reading of the features.

Ridge regression on one-hot classes, or on scores. The clips are turned into the coordinates of one
spectrum; what a fold leaves is then the whole Gram matrix less that fold's, and every penalty a
division.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...evaluate.metrics import score, score_classes
from .linear_fits import PENALTIES, Matrix, spectrum
from .linear_probe import Labelled, Scale


def cross_validated(
    pooled: Sequence[NDArray[np.float32]], clips: Labelled, folds: NDArray[np.int64]
) -> Mapping[str, tuple[float, ...]]:
    """Every metric of each fold, by the probe of the others; `folds` (clips,) is -1 for clips that
    take no part. `pooled` are (clips, width), an input each, joined.

    The penalty is that of the least error over all folds: absolute for scores, squared for classes.
    """
    rows = np.flatnonzero(folds >= 0)
    there = ~np.logical_and.reduce([np.isnan(one[rows, 0]) for one in pooled])
    x = np.concatenate([Scale.of(one[rows])(one[rows]) for one in pooled], axis=1)
    z = spectrum(x - x.mean(axis=0)).rotated  # ridge does not know one rotation from another
    labels = clips.labels[rows]
    y = np.eye(len(clips.classes))[labels.astype(np.int64)] if clips.classes else labels[:, None]
    numbers = np.unique(folds[rows])
    answers = np.empty((len(PENALTIES), *y.shape))
    whole = _sums(z[there], y[there])
    for number in numbers:
        held = folds[rows] == number
        rest = whole.without(_sums(z[held & there], y[held & there]))
        answers[:, held] = _answers(rest, z[held])
    errors = [_error(own, y, bool(clips.classes)) for own in answers]
    best = len(errors) - 1 - int(np.argmin(errors[::-1]))  # the larger penalty of equals
    found = [_scores(answers[best], labels, folds[rows] == number, clips) for number in numbers]
    return {key: tuple(one[key] for one in found) for key in found[0]}


@dataclass(frozen=True)
class Sums:
    """Over some clips."""

    count: int
    z: Matrix
    """(rank,)"""
    y: Matrix
    """(outputs,)"""
    gram: Matrix
    """(rank, rank) zᵀz"""
    cross: Matrix
    """(rank, outputs) zᵀy"""

    def without(self, held: "Sums") -> "Sums":
        """Of the clips that `held` does not count."""
        gram, cross = self.gram - held.gram, self.cross - held.cross
        return Sums(self.count - held.count, self.z - held.z, self.y - held.y, gram, cross)


def _sums(z: Matrix, y: Matrix) -> Sums:
    return Sums(len(z), z.sum(axis=0), y.sum(axis=0), z.T @ z, z.T @ y)


def _answers(known: Sums, z: Matrix) -> Matrix:
    """(penalties, clips of z, outputs) by the fits on the clips of `known`; without any, zero."""
    count = max(1, known.count)
    mean_z, mean_y = known.z / count, known.y / count
    squares, vectors = np.linalg.eigh(known.gram - count * np.outer(mean_z, mean_z))
    pulled = vectors.T @ (known.cross - count * np.outer(mean_z, mean_y))  # (rank, outputs)
    turned = (z - mean_z) @ vectors
    shrunk = 1 / (np.maximum(squares, 0)[None, :] + np.asarray(PENALTIES)[:, None])
    return np.asarray(
        [turned @ (own[:, None] * pulled) + mean_y for own in shrunk], dtype=np.float64
    )


def _error(answers: Matrix, y: Matrix, classes: bool) -> float:
    distance = answers - y
    return float(np.square(distance).mean() if classes else np.abs(distance).mean())


def _scores(
    answers: Matrix, labels: Matrix, held: NDArray[np.bool_], clips: Labelled
) -> dict[str, float]:
    if clips.classes:
        guess = answers[held].argmax(axis=1)
        return score_classes(labels[held].astype(np.int64), guess, clips.classes)
    return score(labels[held], answers[held, 0], clips.protocol)
