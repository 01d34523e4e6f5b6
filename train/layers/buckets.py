"""Clips of like length in buckets, padded to each other only: within one, little is padding.

`Packed` hands them out to attention and recurrence; no model sees them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Bucket:
    """Some clips of a table of rows, padded to the longest of them."""

    rows: Tensor
    """(b, t) int64: where each frame lies in the table; any row for padding."""
    mask: Tensor
    """(b, t), True = real frame."""
    place: Tensor
    """(n,) int64: the real frames among the b * t."""
    clips: Tensor
    """(b,) int64: which clips they are."""
    whole: bool = False
    """Whether these are all rows of the table, in order, padding and all."""

    @classmethod
    def of(
        cls,
        clips: NDArray[np.int64],
        first: NDArray[np.int64],
        lengths: NDArray[np.int64],
        device: torch.device,
    ) -> "Bucket":
        """Of these `clips`, which begin at rows `first` and have `lengths` frames, (b,) each."""
        steps = np.arange(lengths.max())
        mask = steps < lengths[:, None]
        rows = np.where(mask, first[:, None] + steps, first[:, None])
        arrays = rows, mask, np.flatnonzero(mask), clips
        places, real, place, own = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(places, real, place, own)

    @cached_property
    def full(self) -> bool:
        """Whether no frame is padding."""
        return len(self.place) == self.mask.numel()

    @cached_property
    def keys(self) -> Tensor | None:
        """`mask` as attention needs it: nothing is hidden from a clip without frames, for whom
        softmax would have nothing to divide by. None: every frame is real."""
        return None if self.full else self.mask | ~self.mask.any(dim=1, keepdim=True)

    def padded(self, table: Tensor) -> Tensor:
        """Rows (N, …) -> (b, t, …), with some row in padding."""
        picked = table if self.whole else table.index_select(0, self.rows.flatten())
        return picked.view(*self.rows.shape, *table.shape[1:])

    def real(self, padded: Tensor) -> Tensor:
        """(b, t, …) -> the real frames (n, …); all b * t of them, if this is the `whole` table."""
        flat = padded.flatten(0, 1)
        return flat if self.full or self.whole else flat.index_select(0, self.place)

    @cached_property
    def members(self) -> Tensor:
        """Rows (n,) of the table that `real` gives."""
        flat = self.rows.flatten()
        return flat if self.full or self.whole else flat.index_select(0, self.place)


def scattered(parts: Sequence[Tensor], buckets: Sequence[Bucket], like: Tensor) -> Tensor:
    """`parts`, (n, width) each, at their buckets' rows in a table as long as `like`; else zero."""
    if len(buckets) == 1 and buckets[0].whole:
        return parts[0]
    members = torch.cat([like.new_empty(0, dtype=torch.int64), *(b.members for b in buckets)])
    together = torch.cat(list(parts))
    blank = together.new_zeros(len(like), together.shape[1])
    return blank.index_copy(0, members, together)


def like_length(
    lengths: NDArray[np.int64], device: torch.device, call: int = 0, step: int = 0
) -> list[NDArray[np.int64]]:
    """Positions among `lengths` (clips,), bucket by bucket, each once, the longest first.

    A further bucket costs as much as `call` frames, and as `step` frames for each of its own
    longest; it begins where padding has cost more. On a GPU, which waits for calls and hardly for
    frames, all are one.

    >>> cpu = torch.device("cpu")
    >>> [bucket.tolist() for bucket in like_length(np.array([3, 90, 2, 85, 4]), cpu, call=20)]
    [[1, 3], [4, 0, 2]]
    """
    order = np.argsort(-lengths, kind="stable")
    if device.type != "cpu":
        return [order] if len(order) else []
    bounds, longest, wasted = [0], 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        wasted += longest - length
        if position == 0 or wasted > call + step * length:
            bounds += [position] if position else []
            longest, wasted = length, 0
    bounds += [len(order)] if len(order) else []
    return [order[a:b] for a, b in pairwise(bounds)]
