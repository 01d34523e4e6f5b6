"""A probe's score on clips it has not seen, fold by fold, from one reading of the features.

Clips of one video (or speaker) are never on both sides.

Ridge regression on one-hot classes, or on scores. The clips are turned into the coordinates of one
spectrum; what a fold leaves is then the whole Gram matrix less that fold's, and every penalty a
division.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .linear_fits import PENALTIES, Matrix, spectrum
from .linear_probe import Labelled, Scale

FOLDS = 5


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
        left_out = _sums(z[held & there], y[held & there])
        rest = [of_all - of_held for of_all, of_held in zip(whole, left_out, strict=True)]
        answers[:, held] = _answers(z[held], *rest)
    errors = [_error(own, y, bool(clips.classes)) for own in answers]
    best = len(errors) - 1 - int(np.argmin(errors[::-1]))  # the larger penalty of equals
    by_fold = [
        clips.scored(rows[held], answers[best][held])
        for held in (folds[rows] == number for number in numbers)
    ]
    return {key: tuple(scores[key] for scores in by_fold) for key in by_fold[0]}


def _sums(z: Matrix, y: Matrix) -> list[Any]:
    """Of some clips: how many there are, Σz (rank,), Σy (outputs,), zᵀz and zᵀy."""
    return [len(z), z.sum(axis=0), y.sum(axis=0), z.T @ z, z.T @ y]


def _answers(
    z: Matrix, count: int, sum_z: Matrix, sum_y: Matrix, gram: Matrix, cross: Matrix
) -> Matrix:
    """(penalties, clips of z, outputs) by the fits on the clips of the sums; without any, zero."""
    count = max(1, count)
    mean_z, mean_y = sum_z / count, sum_y / count
    squares, vectors = np.linalg.eigh(gram - count * np.outer(mean_z, mean_z))
    pulled = vectors.T @ (cross - count * np.outer(mean_z, mean_y))  # (rank, outputs)
    turned = (z - mean_z) @ vectors
    shrunk = 1 / (np.maximum(squares, 0)[None, :] + np.asarray(PENALTIES)[:, None])
    return np.asarray(
        [turned @ (own[:, None] * pulled) + mean_y for own in shrunk], dtype=np.float64
    )


def _error(answers: Matrix, y: Matrix, classes: bool) -> float:
    distance = answers - y
    return float(np.square(distance).mean() if classes else np.abs(distance).mean())


def grouped_folds(groups: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """(clips,) fold of each clip, from 0; all clips of a group are in one, folds are of like size.

    The largest group goes first, each into the smallest fold; of equals a hash decides, so that the
    order of the clips does not. With fewer groups than folds every clip is a group of its own.

    >>> grouped_folds(["a", "a", "b", "c", "c", "d"], 2).tolist()
    [1, 1, 0, 0, 0, 1]
    """
    names = list(groups)
    if len(set(names)) < folds:
        names = [f"{name} {k}" for k, name in enumerate(names)]
    sizes = Counter(names)

    def rank(name: str) -> tuple[int, bytes]:
        return -sizes[name], hashlib.blake2b(name.encode(), digest_size=8).digest()

    filled, fold = [0] * folds, dict[str, int]()
    for name in sorted(sizes, key=rank):
        fold[name] = filled.index(min(filled))
        filled[fold[name]] += sizes[name]
    return np.array([fold[name] for name in names], dtype=np.int64)
