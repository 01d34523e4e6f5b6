"""A convolution over the frames of each clip."""

import math
from functools import reduce

import torch
from torch import Tensor, nn

from .linear import linear
from .packed import Packed


class TemporalConvolution(nn.Module):
    """Conv1d over each clip's frames, zeros beyond its ends, no bias; as many frames come out.

    ``weight`` (kernel * d, width) holds the kernel's taps, that of the earliest frame first; first
    weights as `nn.Conv1d` draws them. If it is `shrinking`, a clip of L frames has L - kernel + 1
    behind it, but at least one, as without padding of the clip.
    """

    def __init__(self, width: int, out: int, kernel: int = 3, shrinking: bool = False) -> None:
        """From frames of length `width` to frames of length `out`; an odd `kernel`."""
        super().__init__()
        self.in_features, self.out_features = width, out
        self.kernel, self.shrinking = kernel, shrinking
        bound = 1 / math.sqrt(kernel * width)  # a fan-in of as many frames
        self.weight = nn.Parameter(torch.empty(kernel * out, width).uniform_(-bound, bound))

    def forward(self, frames: Packed) -> Packed:
        """(N, width) -> (N, out), or (fewer, out)."""
        taps = linear(frames.rows, self.weight).chunk(self.kernel, dim=1)
        first = 0 if self.shrinking else self.kernel // 2
        joined = reduce(torch.add, (_later(frames, tap, k - first) for k, tap in enumerate(taps)))
        found = frames.like(joined)
        if not self.shrinking or self.kernel == 1:
            return found
        left = (frames.lengths - self.kernel + 1).clamp(min=1)
        return found.kept(frames.step < left[frames.clip])


def _later(frames: Packed, rows: Tensor, steps: int) -> Tensor:
    """At each frame the row of the frame `steps` later in its clip, zero beyond its ends."""
    if steps == 0:
        return rows
    place = frames.step + steps
    beyond = (place < 0) | (place >= frames.lengths[frames.clip])
    return rows.roll(-steps, dims=0).masked_fill(beyond.unsqueeze(1), 0)
