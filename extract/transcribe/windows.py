"""Sound cut into windows that a recogniser takes, where it is quietest."""

import numpy as np
from numpy.typing import NDArray

STEP = 0.1
"""Seconds over which loudness is measured."""
SEARCHED = 5.0
"""Seconds before the end of a window in which its cut is looked for."""


def windows(samples: NDArray[np.float32], rate: int, longest: float) -> list[tuple[int, int]]:
    """(first sample, the one behind the last) of each window, none longer than `longest` seconds.

    A cut lies in the quietest tenth of a second of a full window's last five, so that few words are
    cut through.

    >>> sound = np.ones(40, np.float32); sound[26:28] = 0
    >>> windows(sound, 10, 3.0)
    [(0, 26), (26, 40)]
    """
    most, step = int(longest * rate), max(1, int(STEP * rate))
    spans, first = [], 0
    while len(samples) - first > most:
        begin = max(first + step, first + most - int(SEARCHED * rate))
        count = max(1, (first + most - begin) // step)
        tail = samples[begin : begin + count * step].reshape(count, step)
        quietest = int(np.square(tail, dtype=np.float64).mean(axis=1).argmin())
        cut = begin + quietest * step
        spans.append((first, cut))
        first = cut
    return [*spans, (first, len(samples))] if first < len(samples) else spans
