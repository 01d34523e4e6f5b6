"""How well a score stands missing data: the area under its curve over missing rates.

Area Under Indicators Line Chart (AUILC), as in TFR-Net (Yuan et al., ACM MM 2021) and EMT-DLFR
(arXiv:2208.07589, Eq. 17): trapezoids over the missing rate. EMT-DLFR's text lets the rates begin
at 0.1; its numbers for CH-SIMS are only possible with 0 among them, so 0 is included here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

RATES: Mapping[str, tuple[float, ...]] = {
    "mosi": tuple(i / 10 for i in range(11)),
    "sims": tuple(i / 10 for i in range(6)),
}
"""Missing rates by protocol: 0 to 1 for CMU-MOSI and CMU-MOSEI, 0 to 0.5 for CH-SIMS."""


def auilc(rates: ArrayLike, values: ArrayLike) -> float:
    """Area under `values` over `rates`, by trapezoids; both (rates,), in any order.

    In the metric's unit times a rate: over 0 to 1 it is the metric's mean, over 0 to 0.5 half of
    it. A value that is not a number makes it NaN. Raises ValueError for fewer than two rates, a
    rate twice, or one value too many or too few.

    >>> round(auilc([0.0, 0.1, 0.2], [1.0, 0.8, 0.6]), 3)
    0.16
    """
    x, y = np.asarray(rates, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(f"rates {x.shape}, values {y.shape}: one value a rate, two at least.")
    order = np.argsort(x)
    x, y = x[order], y[order]
    if not (np.diff(x) > 0).all():
        raise ValueError("A missing rate stands there twice, or is not a number.")
    return float(((y[:-1] + y[1:]) / 2 * np.diff(x)).sum())


def auilc_of_scores(scores: Mapping[float, Mapping[str, float]]) -> dict[str, float]:
    """The area of every metric; `scores` has the metrics of `evaluate.metrics.score` by rate.

    Raises ValueError where rates have not the same metrics.
    """
    named: Sequence[str] = list(next(iter(scores.values()), {}))
    for rate, found in scores.items():
        if set(found) != set(named):
            odd = ", ".join(sorted(set(found) ^ set(named)))
            raise ValueError(f"missing rate {rate}: its metrics differ from the others' in {odd}.")
    return {name: auilc(list(scores), [found[name] for found in scores.values()]) for name in named}
