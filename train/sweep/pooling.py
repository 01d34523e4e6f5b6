"""From a store to one vector a clip: the mean of a layer over the clip's real frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...cache.store.statistics import widen
from ...cache.store.store import Store

ROWS = 256
"""Frames widened at a time: what is worked on stays in the processor's cache."""

Pooled = NDArray[np.float32]


def pool_layer(store: Store, layer: str, ids: Sequence[str], valid: NDArray[np.bool_]) -> Pooled:
    """Mean of `layer` over the real frames of each clip of `ids`, (clips, width).

    `valid` is ``store.side("valid")``. A clip without a real frame, or without features, is NaN.
    The layer is read once, a part of the store at a time.
    """
    found = np.full((len(ids), store.spec.width), np.nan, np.float32)
    row = {clip: number for number, clip in enumerate(ids)}
    begin = 0
    for part in store.parts([layer]):
        values = part.values[0]
        real = valid[begin : begin + len(values)]
        begin += len(values)
        means = segment_means(values, part.offsets, real)
        wanted = [(row[clip], k) for k, clip in enumerate(part.clips) if clip in row]
        if wanted:
            to, of = zip(*wanted, strict=True)
            found[list(to)] = means[list(of)]
    return found


def segment_means(
    values: NDArray[np.floating], offsets: NDArray[np.int64], real: NDArray[np.bool_]
) -> Pooled:
    """Mean of the real rows of each segment ``offsets[k]:offsets[k + 1]`` of `values` (N, width).

    (segments, width), NaN for a segment without any. Sums are products with a small matrix of ones:
    far quicker than summing row by row.

    >>> values = np.array([[1.0], [3.0], [9.0]], np.float16)
    >>> segment_means(values, np.array([0, 2, 3, 3]), np.array([True, True, False])).tolist()
    [[2.0], [nan], [nan]]
    """
    count = len(offsets) - 1
    total = np.zeros((count, values.shape[1]), np.float32)
    segment = np.repeat(np.arange(count), np.diff(offsets))
    wide = np.empty((min(ROWS, len(values)), values.shape[1]), np.float32)
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS]
        own = segment[start : start + ROWS]
        widen(block, wide[: len(block)])
        first, last = own[0], own[-1] + 1
        ones = np.zeros((last - first, len(block)), np.float32)
        ones[own - first, np.arange(len(block))] = real[start : start + ROWS]
        total[first:last] += ones @ wide[: len(block)]
    frames = np.bincount(segment, weights=real, minlength=count)
    frames[frames == 0] = np.nan
    return np.asarray(total / frames[:, None], dtype=np.float32)
