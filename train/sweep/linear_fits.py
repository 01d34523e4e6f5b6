"""Linear fits in closed form: ridge, and softmax regression, for every penalty from one spectrum.

Both use the eigenvectors of the smaller of XᵀX and XXᵀ, taken once; a penalty then costs a division
(ridge) or cheap steps in rotated coordinates (softmax).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

PENALTIES = tuple(float(10.0 ** (k / 2)) for k in range(-2, 13))
"""Squared-norm penalties tried, 0.1 to 1,000,000 in half decades; they are scikit-learn's alpha."""
STEPS = 400
"""Most steps of a softmax fit."""
STILL = 1e-5
"""A softmax fit ends when no gradient exceeds this share of the clips."""


@dataclass(frozen=True)
class Linear:
    """scores = x @ weights + offset."""

    weights: Matrix
    """(width, outputs): one output for scores, one a class for classes."""
    offset: Matrix
    """(outputs,)"""
    penalty: float

    def __call__(self, x: Matrix) -> Matrix:
        """(clips, width) -> (clips, outputs)."""
        return np.asarray(x @ self.weights + self.offset)


@dataclass(frozen=True)
class Spectrum:
    """X = U diag(s) Vᵀ without the directions in which X has no extent."""

    squares: Matrix
    """(rank,) squared singular values s²."""
    rotated: Matrix
    """(clips, rank): U diag(s), the clips in the new coordinates."""
    back: Matrix
    """(width, rank): V."""


def spectrum(x: Matrix) -> Spectrum:
    """Spectrum of `x` (clips, width), whose columns have mean zero."""
    clips, width = x.shape
    primal = clips >= width
    squares, vectors = np.linalg.eigh(x.T @ x if primal else x @ x.T)
    kept = squares > squares[-1] * max(x.shape) * np.finfo(np.float64).eps
    squares, vectors = squares[kept], vectors[:, kept]
    if primal:
        return Spectrum(squares, x @ vectors, vectors)
    roots = np.sqrt(squares)
    return Spectrum(squares, vectors * roots, x.T @ (vectors / roots))


def ridge(x: Matrix, y: Matrix, penalties: Sequence[float] = PENALTIES) -> tuple[Linear, ...]:
    """Least squares with each of `penalties` on the squared weights, the offset free.

    `x` (clips, width) must have columns of mean zero, `y` is (clips,). Equal to scikit-learn's
    ``Ridge(alpha=penalty)``.
    """
    found, mean = spectrum(x), float(y.mean())
    pulled = found.rotated.T @ (y - mean)  # (rank,)
    shrunk = pulled[:, None] / (found.squares[:, None] + np.asarray(penalties)[None, :])
    weights = found.back @ shrunk  # (width, penalties)
    offset = np.array([mean])
    return tuple(Linear(w[:, None], offset, p) for w, p in zip(weights.T, penalties, strict=True))


def softmax_regression(
    x: Matrix, y: NDArray[np.int64], classes: int, penalties: Sequence[float] = PENALTIES
) -> tuple[Linear, ...]:
    """Multinomial logistic regression with each of `penalties` (times half the squared weights).

    `x` (clips, width) must have columns of mean zero, `y` (clips,) are class numbers. Equal to
    scikit-learn's ``LogisticRegression(C=1 / penalty)`` for three classes and more. The curvature
    is bounded by that of least squares (Böhning 1992), whose inverse is a division in rotated
    coordinates; steps are accelerated after Nesterov, beginning anew whenever they overshoot
    (O'Donoghue and Candès 2015). Each penalty starts from the fit of the next larger one.
    """
    found = spectrum(x)
    truth = np.eye(classes)[y]
    fits: dict[float, Linear] = {}
    # row 0 of the parameters is the offset: as the columns of x have mean zero, the bound does not
    # couple it with the others
    z = np.column_stack([np.ones(len(x)), found.rotated])
    start = np.zeros((z.shape[1], classes))
    for penalty in sorted(penalties, reverse=True):
        pull = np.concatenate([[0.0], np.full(len(found.squares), penalty)])[:, None]
        bound = np.concatenate([[len(x)], found.squares])[:, None] / 2 + pull
        start = _descend(z, truth, start, pull, bound)
        fits[penalty] = Linear(found.back @ start[1:], start[0] - start[0].mean(), penalty)
    return tuple(fits[penalty] for penalty in penalties)


def probabilities(scores: Matrix) -> Matrix:
    """Softmax of each row, (clips, classes)."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _descend(z: Matrix, truth: Matrix, start: Matrix, pull: Matrix, bound: Matrix) -> Matrix:
    here = ahead = start
    momentum = 1.0
    for _ in range(STEPS):
        slope = z.T @ (probabilities(z @ ahead) - truth) + pull * ahead
        if np.abs(slope / np.sqrt(bound)).max() <= STILL * np.sqrt(len(z)):
            return ahead
        there = ahead - slope / bound
        if float(np.sum(slope * (there - here))) > 0:  # overshot: the momentum points uphill
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = there + (momentum - 1) / grown * (there - here)
        here, momentum = there, grown
    return here
