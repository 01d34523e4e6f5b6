"""One modality of the corpus, wherever it lies: what a batch asks of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.shared.interface import InputShape
from .standardize import Scaling


@dataclass(frozen=True, kw_only=True)
class Gatherer:
    """In memory (`Source`), on disk (`Streamed`), read by a live encoder (`Reading`), or damaged.

    Clips are rows of the table.
    """

    shape: InputShape
    length_here: Tensor
    """(clips,) int64 frames of each clip, 0 if it has none of this modality; on the CPU: how far to
    pad a batch is asked without waiting for the device."""
    present: NDArray[np.bool_]
    """(clips,): whether any frame of the clip is real."""
    scaling: Scaling | None = None
    """How frames are scaled, if they are."""

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Features ([batch, layers, frames, width] or without layers) and masks (batch, frames)
        of the clips `index` (CPU), on `device`; padded and invalid frames are zero. -1: no clip."""
        return next(self.gathers([index], device))

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`gather` of each of `indices` in turn; a class has one of the two of its own."""
        return (self.gather(index, device) for index in indices)

    def lengths(self, index: Tensor) -> Tensor:
        """(batch,) frames of the clips `index`, on the CPU; none where it is -1."""
        return self.length_here[index.clamp(min=0)] * (index >= 0)


def real_frames(lengths: Tensor) -> Tensor:
    """(batch, frames) bool: the first of each clip's `lengths` (batch,); at least one frame wide.

    >>> real_frames(torch.tensor([2, 0])).tolist()
    [[True, True], [False, False]]
    """
    return torch.arange(max(1, int(lengths.max()))) < lengths[:, None]
