"""Frames packed without padding, their convolution, their pooling.

Shapes: B clips, T frames of the longest, N real frames of the whole batch, d the common width.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .attention import COMPANY, Company, meetings
from .linear import FrameLinear


@dataclass(frozen=True)
class Packed:
    """The real frames of a batch, clip after clip: no padding is computed on, none can leak."""

    values: Tensor
    """(N, width)"""
    clip: Tensor
    """(N,) int64: which clip of the batch."""
    step: Tensor
    """(N,) int64: 0, 1, … within the clip; frames that are not real do not count."""
    lengths: Tensor
    """(B,) int64: real frames of each clip."""
    longest: int
    """At least the largest of `lengths`; known without asking the device."""

    @classmethod
    def of(cls, features: Tensor, mask: Tensor, layers: int = 1) -> "Packed":
        """(B, T, layers * width), (B, T) -> frames of `width`.

        Several layers follow each other in time: all frames of a clip's first layer, then all of
        its second.
        """
        batch, frames = mask.shape
        lengths = mask.sum(dim=1) * layers
        rows = mask.flatten().nonzero().squeeze(1)
        if layers > 1:
            order = torch.arange(layers, device=rows.device)
            by_layer = (rows // frames).unsqueeze(1) * layers + order
            rows = (rows.unsqueeze(1) * layers + order).flatten()
            rows = rows[by_layer.flatten().argsort(stable=True)]
        values = features.reshape(batch * frames * layers, -1).index_select(0, rows)
        clip = rows // (frames * layers)
        first = lengths.cumsum(dim=0) - lengths
        step = torch.arange(len(rows), device=rows.device) - first[clip]
        return cls(values, clip, step, lengths, frames * layers)

    def padded(self, values: Tensor) -> Tensor:
        """(N, any) -> (B, longest, any), zero where no frame is."""
        place = self.clip * self.longest + self.step
        blank = values.new_zeros(len(self.lengths) * self.longest, values.shape[-1])
        return blank.index_copy(0, place, values).view(len(self.lengths), self.longest, -1)

    def last(self, rows: Tensor) -> Tensor:
        """(N, any) -> (B, any): each clip's last, zero for a clip without frames."""
        return last_rows(rows, self.lengths)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """`lengths` where the CPU has them."""
        found: NDArray[np.int64] = self.lengths.cpu().numpy()
        return found

    def companies(self, heads: int) -> list[Company]:
        """All clips at once on a GPU; on a CPU few of like length at a time (see `attention`)."""
        if not len(self.values):
            return []
        lengths = self.lengths
        if lengths.device.type == "cpu":
            counts = self.counts
            return [one.here for one in meetings(counts, counts, heads, lengths.device, COMPANY)]
        first = lengths.cumsum(dim=0) - lengths
        steps = torch.arange(self.longest, device=lengths.device)
        rows = (first.unsqueeze(1) + steps).clamp(max=len(self.values) - 1)
        return [Company.of(rows, steps < lengths.unsqueeze(1))]


def last_rows(rows: Tensor, lengths: Tensor) -> Tensor:
    """Rows (N, any), clip after clip, `lengths` (B,) of each -> (B, any): each clip's last one.

    Zero for a clip without rows.
    """
    place = torch.where(lengths > 0, lengths.cumsum(dim=0) - 1, len(rows))
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])]).index_select(0, place)


class OwnStart(FrameLinear):
    """A linear layer whose first weights are its own affair, whatever the model asks of others."""


class TemporalConvolution(OwnStart):
    """Conv1d of kernel 3 over each clip's frames, zeros beyond its ends, no bias.

    ``weight`` (3 * d, width) holds the kernel's taps for the frame before, the frame and the
    frame after; first weights as `nn.Conv1d` draws them.
    """

    def __init__(self, width: int, out: int) -> None:
        """From frames of length `width` to frames of length `out`."""
        super().__init__(width, 3 * out, bias=False)

    def reset_parameters(self) -> None:
        """Uniform, by a fan-in of three frames."""
        bound = 1 / math.sqrt(3 * self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)

    def frames(self, packed: Packed) -> Tensor:
        """(N, width) -> (N, out)."""
        before, here, after = self(packed.values).chunk(3, dim=1)
        starts = (packed.step == 0).unsqueeze(1)
        ends = (packed.step == packed.lengths[packed.clip] - 1).unsqueeze(1)
        joined: Tensor = (
            here
            + before.roll(1, dims=0).masked_fill(starts, 0)
            + after.roll(-1, dims=0).masked_fill(ends, 0)
        )
        return joined


def adaptive_max(padded: Tensor, lengths: Tensor, bins: int) -> Tensor:
    """Adaptive max pooling over each clip's own length: (B, T, d), (B,) -> (B, bins, d).

    Bin i spans the frames floor(i L / bins) up to ceil((i + 1) L / bins), as PyTorch's
    `adaptive_max_pool1d` has it; bins overlap where L is no multiple. A clip without frames
    gives zeros.
    """
    steps = torch.arange(padded.shape[1], device=padded.device)
    lowest = torch.finfo(padded.dtype).min
    pooled = []
    for i in range(bins):
        start = (i * lengths) // bins
        end = ((i + 1) * lengths + bins - 1) // bins
        within = (steps >= start.unsqueeze(1)) & (steps < end.unsqueeze(1))
        pooled.append(padded.masked_fill(~within.unsqueeze(2), lowest).amax(dim=1))
    return torch.stack(pooled, dim=1).masked_fill((lengths == 0).view(-1, 1, 1), 0)
