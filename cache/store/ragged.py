"""What comes out of a store: ragged features of many clips, and the statistics of its layers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .statistics import Moments, widen


@dataclass(frozen=True)
class Ragged:
    """Some layers of some clips, the frames of all clips end to end."""

    values: NDArray[Any]
    """(layers, frames of all clips, width), C-contiguous, writable: `torch.from_numpy` takes it."""
    offsets: NDArray[np.int64]
    """(clips + 1,): clip k has the frames ``offsets[k]:offsets[k + 1]``."""
    clips: tuple[str, ...]

    def mixed(self, weights: Sequence[float] | NDArray[Any]) -> "Ragged":
        """The sum of the layers under `weights` (layers,), as one layer of float32."""
        layers, frames, width = self.values.shape
        out = np.zeros((1, frames, width), np.float32)
        step = max(1, (1 << 16) // width)  # what is worked on stays in the processor's cache
        wide = np.empty((min(step, frames), width), np.float32)
        for start in range(0, frames, step):
            total = out[0, start : start + step]
            block = wide[: len(total)]
            for layer in range(layers):
                widen(self.values[layer, start : start + step], block)
                np.multiply(block, np.float32(weights[layer]), out=block)
                np.add(total, block, out=total)
        return Ragged(out, self.offsets, self.clips)


@dataclass(frozen=True)
class Statistics:
    """Of each stored entry over all clips; mean and deviation over valid frames only."""

    mean: NDArray[np.float64]
    """(layers, width)"""
    std: NDArray[np.float64]
    """(layers, width)"""
    absmax: NDArray[np.float64]
    """(layers,)"""
    frames: int
    """Valid frames."""

    @property
    def layer_mean(self) -> NDArray[np.float64]:
        """(layers,) over frames and features."""
        return np.asarray(self.mean.mean(axis=1))

    @property
    def layer_std(self) -> NDArray[np.float64]:
        """(layers,) over frames and features."""
        between = (self.mean - self.mean.mean(axis=1, keepdims=True)) ** 2
        return np.asarray(np.sqrt((self.std**2 + between).mean(axis=1)))


def pooled(
    shape: tuple[int, int], shares: Iterable[tuple[int, Moments, Moments, Moments]]
) -> Statistics:
    """Statistics of all from those of shares: valid frames, mean, deviation, largest magnitude.

    `shape` is (layers, width); the sums are Chan's, which lose nothing to large means.
    """
    count, largest = 0, np.zeros(shape[0])
    mean, square = np.zeros((2, *shape))
    for new, m, s, top in shares:
        largest = np.maximum(largest, top)
        if new:
            apart = m.astype(np.float64) - mean
            square += s.astype(np.float64) ** 2 * new + apart**2 * (count * new / (count + new))
            count += new
            mean += apart * (new / count)
    return Statistics(mean, np.sqrt(square / max(count, 1)), largest, count)
