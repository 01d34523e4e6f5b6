"""What features are divided by when they are standardised, constant ones included; no torch."""

import numpy as np
from numpy.typing import NDArray

CONSTANT = 1e-4
"""A feature whose deviation is at most this share of its layer's usual one is constant."""
ROUNDING = 1e-7
"""A deviation of at most this share of the mean is what rounding in the sums leaves."""


def divisors(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(layers, width) of each: `deviation`, but the usual one of the layer for constant features.

    A feature is constant if it hardly varies beside the others of its layer: its own deviation
    would make noise out of the last bits, and an explosion out of the first clip in which it does
    vary. The usual deviation is the median over features that vary at all; 1 if none does.

    >>> divisors(np.zeros((1, 4)), np.array([[2.0, 4e-32, 0.5, 0.0]])).tolist()
    [[2.0, 1.25, 0.5, 1.25]]
    """
    found = deviation.copy()
    for own, middle, out in zip(deviation, mean, found, strict=True):
        varies = own > ROUNDING * np.abs(middle)
        varies &= own > CONSTANT**2 * own.max(initial=0.0)  # one dead feature is no usual one
        usual = float(np.median(own[varies])) if varies.any() else 1.0
        out[~varies | (own <= CONSTANT * usual)] = usual
    return found
