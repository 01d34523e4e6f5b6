"""A convolution over the frames of each clip."""

import math

import torch
from torch import Tensor, nn

from .linear import linear
from .packed import Packed


class TemporalConvolution(nn.Module):
    """Conv1d of kernel 3 over each clip's frames, zeros beyond its ends, no bias.

    ``weight`` (3 * d, width) holds the kernel's taps for the frame before, the frame and the
    frame after; first weights as `nn.Conv1d` draws them.
    """

    def __init__(self, width: int, out: int) -> None:
        """From frames of length `width` to frames of length `out`."""
        super().__init__()
        self.in_features, self.out_features = width, out
        bound = 1 / math.sqrt(3 * width)  # a fan-in of three frames
        self.weight = nn.Parameter(torch.empty(3 * out, width).uniform_(-bound, bound))

    def forward(self, frames: Packed) -> Packed:
        """(N, width) -> (N, out)."""
        before, here, after = linear(frames.rows, self.weight).chunk(3, dim=1)
        starts = (frames.step == 0).unsqueeze(1)
        ends = (frames.step == frames.lengths[frames.clip] - 1).unsqueeze(1)
        joined: Tensor = (
            here
            + before.roll(1, dims=0).masked_fill(starts, 0)
            + after.roll(-1, dims=0).masked_fill(ends, 0)
        )
        return frames.like(joined)
