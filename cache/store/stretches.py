"""Frames that lie next to each other in the parts of a store."""

from typing import NamedTuple

import numpy as np

from .read_ranges import Longs


class Stretches(NamedTuple):
    """Frames that lie next to each other, to be read one stretch after the other."""

    part: Longs
    begin: Longs
    """First frame within the part."""
    frames: Longs

    def between(self, first: int, last: int) -> "Stretches":
        """Those of the frames `first` to `last`, counted over all of them."""
        ends = np.cumsum(self.frames)
        begins = ends - self.frames
        kept = (ends > first) & (begins < last)
        skipped = np.maximum(first - begins[kept], 0)
        over = np.maximum(ends[kept] - last, 0)
        frames = self.frames[kept] - skipped - over
        return Stretches(self.part[kept], self.begin[kept] + skipped, frames)
