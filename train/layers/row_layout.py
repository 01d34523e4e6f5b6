"""Frames of `emt_dlfr` as rows: where they came from, and where they are padded again."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the real frames of a padded batch lie, and where once they are moved together."""

    source: Tensor
    """(n,) the real frames among the flattened (batch * frames) they came from."""
    clip: Tensor
    """(n,) which clip each belongs to."""
    rank: Tensor
    """(n,) its place among the clip's real frames, from 0."""
    count: Tensor
    """(batch,) real frames of each clip."""
    mask: Tensor
    """(batch, longest): real frames first, then padding; `longest` is at least 1."""
    full: bool = False
    """Every clip has equally many frames and none is padding."""

    @classmethod
    def of(cls, mask: Tensor) -> "Layout":
        """The layout of a batch with this mask (batch, frames)."""
        count = mask.sum(dim=1)
        longest = max(1, int(count.max()))
        source = mask.flatten().nonzero().squeeze(1)
        rank = (mask.cumsum(dim=1) - 1).flatten()[source]
        steps = torch.arange(longest, device=mask.device)
        return cls(source, source // mask.shape[1], rank, count, steps < count.unsqueeze(1))

    @classmethod
    def filled(cls, batch: int, frames: int, device: torch.device) -> "Layout":
        """`batch` sequences of `frames` rows each."""
        source = torch.arange(batch * frames, device=device)
        count = torch.full((batch,), frames, device=device)
        mask = torch.ones(batch, frames, dtype=torch.bool, device=device)
        return cls(source, source // frames, source % frames, count, mask, full=True)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """`count` where the CPU has it."""
        found: NDArray[np.int64] = self.count.cpu().numpy()
        return found

    @property
    def slots(self) -> Tensor:
        """(n,) the real frames among the flattened (batch * longest)."""
        return self.clip * self.mask.shape[1] + self.rank

    def pick(self, padded: Tensor) -> Tensor:
        """(batch, frames, …) as it was -> rows (n, …)."""
        return padded.flatten(0, 1).index_select(0, self.source)

    def pad(self, rows: Tensor) -> Tensor:
        """Rows (n, width) -> (batch, longest, width), moved together, zeros behind."""
        shape = (*self.mask.shape, rows.shape[1])
        if self.full:
            return rows.view(shape)
        empty = rows.new_zeros(self.mask.numel(), rows.shape[1])
        return empty.index_copy(0, self.slots, rows).view(shape)

    def mean(self, rows: Tensor) -> Tensor:
        """Rows (n, width) -> (batch, width), the mean of each clip's; zero where it has none."""
        empty = rows.new_zeros(len(self.count), rows.shape[1])
        total = empty.index_add(0, self.clip, rows)
        return total / self.count.clamp(min=1).unsqueeze(1)
