"""Recurrence over frames without padding: an LSTM one way or both, and a GRU both ways."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from .buckets import scattered
from .packed import Packed
from .recurrence import recurrence, steps_first

STEP = 6
"""Rows that take as long as a further step of a pass of its own."""


class LSTMCells(nn.LSTM):
    """A one-way `nn.LSTM` of one layer, with its names and its first weights, that also tells its
    cell states."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units."""
        super().__init__(width, hidden, batch_first=True)

    def forward(self, frames: Packed) -> tuple[Packed, Packed]:  # type: ignore[override]
        """Frames (N, width) -> hidden states and cell states, (N, hidden) each."""
        bias = self.bias_ih_l0 + self.bias_hh_l0
        gates = functional.linear(frames.rows, self.weight_ih_l0, bias)
        return recurrence(frames, gates.to(bias.dtype), self.weight_hh_l0)


class LSTM(LSTMCells):
    """Its hidden states alone. Clips of like length share a pass of the library's, or on a CPU
    and of wide frames, all a pass of `recurrence`."""

    def forward(self, frames: Packed) -> Packed:  # type: ignore[override]
        """Frames (N, width) -> states (N, hidden)."""
        rows, wide = frames.rows, self.input_size > 4 * self.hidden_size
        if wide and rows.device.type == "cpu" and frames.real is None:
            return super().forward(frames)[0]
        buckets, parts = frames.buckets(step=STEP), [rows.new_zeros(0, self.hidden_size)]
        for bucket in buckets:
            # what stands in padding comes after a sequence's last frame: no state depends on it
            states = nn.LSTM.forward(self, bucket.padded(rows))[0]
            parts.append(bucket.real(states))
        return frames.like(scattered(parts, buckets, rows))


class GRU(nn.GRU):
    """A two-way `nn.GRU` of one layer, with its names and its first weights."""

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units each way."""
        super().__init__(width, hidden, bidirectional=True)

    def forward(self, frames: Packed) -> Packed:  # type: ignore[override]
        """Frames (N, width) -> states (N, 2 * hidden)."""
        rows = frames.rows
        if not len(rows):
            return frames.like(rows.new_zeros(0, 2 * self.hidden_size))
        order, sizes = steps_first(frames)  # as the library packs sequences
        packed = PackedSequence(rows.index_select(0, order), torch.tensor(sizes))
        states = super().forward(packed)[0].data
        return frames.like(torch.empty_like(states).index_copy(0, order, states))


class TwoWayLSTM(nn.ModuleList):
    """Two `LSTM`s, one of which reads every clip from its end."""

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units each way."""
        super().__init__([LSTM(width, hidden), LSTM(width, hidden)])

    def forward(self, frames: Packed) -> tuple[Packed, Tensor, Tensor]:
        """Frames (N, width) -> states (N, 2 * hidden), the two end states (B, hidden)."""
        ahead, back = self
        turned = frames.backwards
        forwards = ahead(frames)
        backwards = back(frames.map(lambda rows: rows.index_select(0, turned)))
        states = torch.cat([forwards.rows, backwards.rows.index_select(0, turned)], dim=-1)
        return frames.like(states), forwards.last(), backwards.last()
