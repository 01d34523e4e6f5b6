"""Which choice of layers validation supports, among all that were tried, and how surely.

Validation clips are drawn anew with whole videos; the mean over seeds of each draw tells how far
chance among the clips may move a score, or the difference of two scores on the same clips.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...cache.runs import Run
from ...cache.sweeps import LOWER_IS_BETTER, Point, Recommendation, goodness
from ...evaluate.metrics import Scheme, score
from .linear_probe import Labelled

DRAWS = 200
FEWEST_GROUPS = 8
"""With fewer videos it is clips that are drawn."""

Scores = NDArray[np.float64]


def drawn(clips: Labelled, runs: Sequence[Run], criterion: str) -> Scores:
    """(DRAWS,) the criterion of each draw of validation clips, mean over the seeds `runs`; more is
    better."""
    rows, sign = clips.rows("valid"), -1.0 if criterion in LOWER_IS_BETTER else 1.0
    draws = _draws([clips.groups[row] for row in rows])
    total = np.zeros(len(draws))
    for run in runs:
        labels, values = run.predictions.of("valid")
        scheme = run.predictions.classes or clips.protocol
        total += sign * _of_draws(labels, values, draws, criterion, scheme)
    return total / len(runs)


def _draws(groups: Sequence[str]) -> NDArray[np.int64]:
    """(DRAWS, clips) rows, always the same; those of a group, which are videos, together."""
    random, count = np.random.default_rng(0), len(groups)
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return random.integers(0, count, (DRAWS, count))
    members = [np.flatnonzero(group == k) for k in range(len(names))]
    found = np.empty((DRAWS, count), dtype=np.int64)
    for row in found:
        taken = np.concatenate([members[k] for k in random.integers(0, len(names), len(names))])
        row[:] = np.resize(taken, count)
    return found


def _of_draws(
    labels: Scores, values: Scores, draws: NDArray[np.int64], criterion: str, scheme: Scheme
) -> Scores:
    if criterion == "MAE":
        return np.asarray(np.abs(values - labels)[draws].mean(axis=1))
    if criterion == "Corr":
        x, y = labels[draws], values[draws]
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        norms = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        return np.asarray((x * y).sum(axis=1) / np.where(norms > 0, norms, np.nan))
    return np.array([score(labels[rows], values[rows], scheme)[criterion] for rows in draws])


def error_of(point: Point, drawn: Scores, criterion: str) -> float | None:
    """Standard error of a point's criterion: over clips by `drawn`, and over its seeds."""
    return _error(drawn, [point.scores["valid"].get(criterion, ())])


def _error(drawn: Scores, seeds: Sequence[Sequence[float]]) -> float | None:
    known = drawn[np.isfinite(drawn)]
    if len(known) < 2:
        return None
    over_seeds = sum(float(np.var(own, ddof=1)) / len(own) for own in seeds if len(own) > 1)
    found = math.sqrt(float(np.var(known, ddof=1)) + over_seeds)
    return found if math.isfinite(found) else None


def recommend(
    candidates: Sequence[Point],
    drawn: Callable[[Point], Scores],
    criterion: str,
    clips: int,
) -> Recommendation:
    """The best of one or more `candidates` on validation; `drawn` is that of one."""
    ranked = sorted(candidates, key=lambda point: -goodness(point, criterion))
    best = ranked[0]
    # the same layers under two names are one choice
    others = [point for point in ranked[1:] if dict(point.layers) != dict(best.layers)]
    runner_up, margin, spread, error = "", 0.0, 0.0, None
    if others:
        runner_up = others[0].choice
        seeds = [point.scores["valid"].get(criterion, ()) for point in (best, others[0])]
        spread = math.sqrt(sum(float(np.var(own)) for own in seeds) / 2)
        error = _error(drawn(best) - drawn(others[0]), seeds)
        margin = goodness(best, criterion) - goodness(others[0], criterion)
    return Recommendation(
        letters=best.letters,
        choice=best.choice,
        layers=best.layers,
        value=best.mean("valid", criterion),
        runner_up=runner_up,
        margin=margin if math.isfinite(margin) else 0.0,
        spread=spread,
        error=error,
        clips=clips,
    )
