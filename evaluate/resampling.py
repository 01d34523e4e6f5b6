"""Every metric on thousands of resamples of the clips at once.

A resample is a vector of counts: how often each group of clips (a video) was drawn. All metrics are
functions of sums over clips, so a resample costs one small product instead of a pass over the data.
"""

import numpy as np
from numpy.typing import NDArray

from ..cache.spec import Several
from ..config import label_range
from .metrics import (
    SIMS_EDGES_2,
    SIMS_EDGES_3,
    SIMS_EDGES_5,
    THRESHOLD,
    Classes,
    Scheme,
    Scores,
    binned,
    polarity_with_neutral,
    polarity_without_neutral,
    rounded,
    score,
    several_key,
)

Counts = NDArray[np.int64]


def draw_groups(groups: int, resamples: int, seed: int = 0) -> Counts:
    """How often each group was drawn, (resamples, groups): `groups` draws with replacement each."""
    draws = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), resamples)
    return draws.astype(np.int64)


def resampled_scores(
    labels: Scores, predictions: Scores, protocol: Scheme, groups: Classes, draws: Counts
) -> dict[str, Scores]:
    """Each metric of `protocol` on each resample, (resamples,), by the keys of `metrics.score`.

    `labels`, `predictions` and `groups` (which group a clip is in, 0-based) are (clips,), `draws`
    is (resamples, groups). Equal to scoring clips repeated as often as their group was drawn.
    """
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        keys = score(np.empty(0), np.empty(0), protocol)
        return {key: np.full(len(draws), np.nan) for key in keys}
    if protocol == "sims":
        labels, predictions = np.clip(labels, -1, 1), np.clip(predictions, -1, 1)
    sums = _Sums(groups, draws.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty resample is NaN by definition
        if isinstance(protocol, Several):
            return _several(sums, labels, predictions, protocol)
        if isinstance(protocol, tuple):
            pair = labels.astype(np.int64), predictions.astype(np.int64)
            return {
                "Accuracy": sums.accuracy(*pair),
                "Weighted_F1": sums.weighted_f1(*pair),
                **{f"F1_{name}": sums.class_f1(*pair, k) for k, name in enumerate(protocol)},
            }
        if protocol == "sims":
            two = binned(labels, SIMS_EDGES_2), binned(predictions, SIMS_EDGES_2)
            three = binned(labels, SIMS_EDGES_3), binned(predictions, SIMS_EDGES_3)
            five = binned(labels, SIMS_EDGES_5), binned(predictions, SIMS_EDGES_5)
            return {
                "Mult_acc_2": sums.accuracy(*two),
                "Mult_acc_3": sums.accuracy(*three),
                "Mult_acc_5": sums.accuracy(*five),
                "F1_score": sums.weighted_f1(*two),
                "MAE": sums.mean(np.abs(predictions - labels)),
                "Corr": sums.correlation(labels, predictions),
            }
        if isinstance(protocol, str) and (own := label_range(protocol)) is not None:
            two = binned(labels, (own.middle,)), binned(predictions, (own.middle,))
            several = binned(labels, own.edges), binned(predictions, own.edges)
            return {
                "Mult_acc_2": sums.accuracy(*two),
                "F1_score": sums.weighted_f1(*two),
                several_key(own): sums.accuracy(*several),
                "MAE": sums.mean(np.abs(predictions - labels)),
                "Corr": sums.correlation(labels, predictions),
            }
        has0, non0 = (
            polarity_with_neutral(labels, predictions),
            polarity_without_neutral(labels, predictions),
        )
        rated = _Sums(groups[labels != 0], sums.draws)
        return {
            "Has0_acc_2": sums.accuracy(*has0),
            "Has0_F1_score": sums.weighted_f1(*has0),
            "Non0_acc_2": rated.accuracy(*non0),
            "Non0_F1_score": rated.weighted_f1(*non0),
            "Mult_acc_5": sums.accuracy(rounded(labels, 2), rounded(predictions, 2)),
            "Mult_acc_7": sums.accuracy(rounded(labels, 3), rounded(predictions, 3)),
            "MAE": sums.mean(np.abs(predictions - labels)),
            "Corr": sums.correlation(labels, predictions),
        }


def _several(
    sums: "_Sums", labels: Scores, predictions: Scores, several: Several
) -> dict[str, Scores]:
    """As `metrics.score_several`, of every resample."""
    each: dict[str, Scores] = {}
    for name, truth, guess in zip(several.names, labels.T, predictions.T, strict=True):
        if several.kind == "dimensions":
            each[f"CCC_{name}"] = sums.concordance(truth, guess)
            each[f"Corr_{name}"] = sums.correlation(truth, guess)
            each[f"MAE_{name}"] = sums.mean(np.abs(guess - truth))
        else:
            there, said = truth > 0, guess >= THRESHOLD
            hits, right = sums.of(there & said) / sums.of(there), sums.of(~there & ~said)
            each[f"Weighted_acc_{name}"] = (hits + right / sums.of(~there)) / 2
            each[f"F1_{name}"] = sums.weighted_f1(there.astype(np.int64), said.astype(np.int64))
    lead = ("CCC", "MAE") if several.kind == "dimensions" else ("Weighted_acc", "F1")
    means = {k: np.mean([each[f"{k}_{name}"] for name in several.names], axis=0) for k in lead}
    return means | each


class _Sums:
    """Sums over the clips of each resample."""

    def __init__(self, groups: Classes, draws: Scores) -> None:
        self.groups, self.draws = groups, draws
        self.clips = self.of(np.ones(len(groups)))

    def of(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> Scores:
        """Sum of a value a clip, (clips,), over each resample, (resamples,)."""
        each = np.bincount(
            self.groups, weights=values.astype(np.float64), minlength=self.draws.shape[1]
        )
        return np.asarray(self.draws @ each)

    def mean(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> Scores:
        return self.of(values) / self.clips

    def accuracy(self, truth: Classes, guess: Classes) -> Scores:
        return self.mean(truth == guess)

    def weighted_f1(self, truth: Classes, guess: Classes) -> Scores:
        total = np.zeros(len(self.draws))
        for number in np.unique(truth):
            rated, said = truth == number, guess == number
            support = self.of(rated)
            either = support + self.of(said)
            total += support * np.where(either > 0, 2 * self.of(rated & said) / either, 0)
        return total / self.clips

    def class_f1(self, truth: Classes, guess: Classes, number: int) -> Scores:
        rated, said = truth == number, guess == number
        return 2 * self.of(rated & said) / (self.of(rated) + self.of(said))

    def concordance(self, truth: Scores, guess: Scores) -> Scores:
        x, y = truth - truth.mean(), guess - truth.mean()  # the sums of squares lose no digits
        mx, my = self.mean(x), self.mean(y)
        vx, vy = self.mean(x * x) - mx**2, self.mean(y * y) - my**2
        return 2 * (self.mean(x * y) - mx * my) / (vx + vy + (mx - my) ** 2)

    def correlation(self, truth: Scores, guess: Scores) -> Scores:
        # centred and scaled first: the sums of squares below then lose no digits
        x, y = (_standardized(v) for v in (truth, guess))
        mx, my = self.mean(x), self.mean(y)
        vx, vy = self.mean(x * x) - mx**2, self.mean(y * y) - my**2
        found = (self.mean(x * y) - mx * my) / np.sqrt(vx * vy)
        constant = (vx < 1e-12) | (vy < 1e-12)
        return np.where(constant, np.nan, np.clip(found, -1, 1))


def _standardized(values: Scores) -> Scores:
    centred = values - values.mean() if values.size else values
    spread = float(np.abs(centred).max(initial=0))
    return centred / spread if spread and np.ptp(values) else np.zeros_like(values)
