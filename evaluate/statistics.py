"""How sure a number is: spread over seeds, intervals over clips, tests between two runs.

Clips of one video share a speaker, a camera and a topic; they are not independent. Intervals and
tests therefore draw whole videos, not clips, where there are enough of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .metrics import Classes, Scheme, Scores, score
from .resampling import draw_groups, resampled_scores

LEVEL = 0.95
"""Coverage of every interval."""
FEWEST_GROUPS = 8
"""Below this many videos there is too little to draw from, and clips are drawn instead."""


@dataclass(frozen=True)
class Spread:
    """One metric of one model over its seeds."""

    values: tuple[float, ...]
    """A score a seed, in the order of the seeds."""
    low: float | None = None
    """Lower end of the bootstrap interval of `mean`; None: not asked for."""
    high: float | None = None

    @property
    def mean(self) -> float:
        """Mean over seeds; NaN if any seed's score is (leaving it out would flatter the model)."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def std(self) -> float:
        """Population standard deviation (ddof 0) over seeds, as the field prints it."""
        return float(np.std(self.values)) if self.values else float("nan")


@dataclass(frozen=True)
class Difference:
    """How much the first of two models scores above the second on the same clips."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided bootstrap p value of "no difference"; at least 1 / (resamples + 1)."""


@dataclass(frozen=True)
class McNemar:
    """Clips that exactly one of two models gets right."""

    only_first: int
    only_second: int
    p: float
    """Exact two-sided binomial p value of "both are right equally often"."""


def seed_means(
    labels: Scores,
    predictions: Sequence[Scores],
    protocol: Scheme,
    groups: Classes | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Scores]:
    """Mean over seeds of each metric on each resample of the clips, (resamples,).

    `labels` and each of `predictions` (one a seed) are (clips, …); `groups` numbers each clip's
    video, None: each clip by itself. A resample draws as many videos as there are, with
    replacement, and every seed is scored on the same draw. Equal `groups` and `seed` give equal
    draws, so that two models can be compared resample by resample. Fewer than `FEWEST_GROUPS`
    videos are ignored, and clips drawn.
    """
    if not len(labels):
        return {key: np.full(resamples, np.nan) for key in score(labels, labels, protocol)}
    if groups is None or groups.max() + 1 < FEWEST_GROUPS:
        groups = np.arange(len(labels))  # redrawing one or two videos would claim certainty
    draws = draw_groups(int(groups.max()) + 1, resamples, seed)
    each = [resampled_scores(labels, p, protocol, groups, draws) for p in predictions]
    return {key: np.mean([s[key] for s in each], axis=0) for key in each[0]}


def spreads(
    labels: Scores,
    predictions: Sequence[Scores],
    protocol: Scheme,
    draws: Mapping[str, Scores] | None = None,
) -> dict[str, Spread]:
    """Every metric over seeds; with `draws` of `seed_means`, the interval of the mean over seeds.

    The interval tells how much the choice of test videos matters, `std` how much the seed does.
    """
    each = [score(labels, p, protocol) for p in predictions]
    ends = {key: interval(values) for key, values in (draws or {}).items()}
    keys = score(np.empty(0), np.empty(0), protocol)
    return {key: Spread(tuple(s[key] for s in each), *ends.get(key, (None, None))) for key in keys}


def interval(draws: Scores) -> tuple[float, float]:
    """Percentile interval of resampled scores; resamples without a score are left out.

    NaN, NaN where more than half have none: then the interval would describe the luckier half.
    """
    found = draws[np.isfinite(draws)]
    if 2 * found.size <= draws.size:
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def differences(
    first: Mapping[str, Spread],
    second: Mapping[str, Spread],
    first_draws: Mapping[str, Scores],
    second_draws: Mapping[str, Scores],
) -> dict[str, Difference]:
    """First minus second, per metric; the draws are of `seed_means` on the same resamples.

    The p value is twice the share of resamples on the far side of zero, counting the observed
    sample as one of them.
    """
    found = {}
    for key in first:
        draws = first_draws[key] - second_draws[key]
        value = first[key].mean - second[key].mean
        found[key] = Difference(value, *interval(draws), _two_sided(draws))
    return found


def paired_bootstrap(
    labels: Scores,
    first: Sequence[Scores],
    second: Sequence[Scores],
    protocol: Scheme,
    groups: Classes | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """First minus second, per metric, means over seeds, both scored on the same resamples.

    Arguments as in `seed_means`; the two models may have different numbers of seeds.
    """
    a = seed_means(labels, first, protocol, groups, resamples, seed)
    b = seed_means(labels, second, protocol, groups, resamples, seed)
    here = spreads(labels, first, protocol), spreads(labels, second, protocol)
    return differences(*here, a, b)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Exact McNemar test of two models' hits on the same clips, (clips,) each.

    Two-sided: twice the smaller binomial tail of the clips that only one gets right, at most 1.
    """
    if first.shape != second.shape:
        raise ValueError(f"hits {first.shape} and {second.shape}: the same clips are needed.")
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    tail, term = 0, 1
    for k in range(min(b, c) + 1):  # integers: the tail of thousands of clips underflows a float
        tail += term
        term = term * (b + c - k) // (k + 1)
    return McNemar(b, c, float(min(Fraction(1), Fraction(2 * tail, 2 ** (b + c)))))


def video_groups(ids: Sequence[str], videos: Mapping[str, str] | None = None) -> Classes:
    """Number of each clip's video, (clips,), 0-based in order of first appearance.

    The video is looked up in `videos` (clip id -> video id), else read from the id's part before
    ``$_$``.
    """
    known = videos or {}
    names = [known.get(clip) or clip.split("$_$")[0] for clip in ids]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _two_sided(draws: Scores) -> float:
    found = draws[np.isfinite(draws)]
    if 2 * found.size <= draws.size:
        return float("nan")
    tail = min(np.sum(found <= 0), np.sum(found >= 0))
    return float(min(1.0, 2 * (tail + 1) / (found.size + 1)))
