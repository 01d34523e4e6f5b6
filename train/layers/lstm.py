"""Recurrence over frames without padding: an LSTM whose clips of like length share a pass, a GRU
both ways."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from .buckets import scattered
from .packed import Packed

STEP = 6
"""Rows that take as long as a further step of a pass of its own."""


class LSTM(nn.LSTM):
    """A one-way `nn.LSTM` of one layer, with its names and its first weights."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units."""
        super().__init__(width, hidden, batch_first=True)

    def forward(self, frames: Packed) -> Packed:  # type: ignore[override]
        """Frames (N, width) -> states (N, hidden)."""
        rows, ahead = frames.rows, self.input_size > 4 * self.hidden_size
        if ahead:  # one product over real frames; else it would be one over padding too
            biases = self.bias_ih_l0 + self.bias_hh_l0
            rows = functional.linear(rows, self.weight_ih_l0, biases)
            rows = rows.to(biases.dtype)  # under mixed precision it is not that of the recurrence
        buckets, parts = frames.buckets(step=STEP), [rows.new_zeros(0, self.hidden_size)]
        for bucket in buckets:
            # what stands in padding comes after a sequence's last frame: no state depends on it
            padded = bucket.padded(rows)
            states = self._recurrence(padded) if ahead else super().forward(padded)[0]
            parts.append(bucket.real(states))
        return frames.like(scattered(parts, buckets, rows))

    def _recurrence(self, gates: Tensor) -> Tensor:
        """(b, t, 4 * hidden), inputs as the weights of the input have left them, -> (b, t, hidden).

        The library has no LSTM that starts from there: the one it has gets the identity to do.
        """
        size = self.hidden_size
        start = gates.new_zeros(1, len(gates), size)
        same = torch.eye(4 * size, dtype=gates.dtype, device=gates.device)
        none = gates.new_zeros(4 * size)
        weights = [same, self.weight_hh_l0, none, none]
        states: Tensor = torch.lstm(
            gates, [start, start], weights, True, 1, 0.0, self.training, False, True
        )[0]
        return states


class LSTMCells(nn.LSTM):
    """A one-way LSTM of one layer that also tells its cell states, step by step."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units."""
        super().__init__(width, hidden)

    def forward(self, frames: Packed) -> tuple[Packed, Packed]:  # type: ignore[override]
        """Frames (N, width) -> hidden states and cell states, (N, hidden) each."""
        order, sizes = steps_first(frames)
        bias = self.bias_ih_l0 + self.bias_hh_l0
        gates = functional.linear(frames.rows.index_select(0, order), self.weight_ih_l0, bias)
        h = c = gates.new_zeros(sizes[0] if sizes else 0, self.hidden_size)
        states, cells = [h[:0]], [h[:0]]
        for own in torch.split(gates, sizes) if sizes else ():
            n = len(own)
            i, f, g, o = (own + h[:n] @ self.weight_hh_l0.T).chunk(4, dim=1)
            c = torch.sigmoid(f) * c[:n] + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
            cells.append(c)
        hidden, cell = torch.cat(states), torch.cat(cells)
        blank = torch.empty_like(hidden)
        return (
            frames.like(blank.index_copy(0, order, hidden)),
            frames.like(blank.index_copy(0, order, cell)),
        )


def steps_first(frames: Packed) -> tuple[Tensor, list[int]]:
    """Rows in the order in which a recurrence needs them: all first frames, the clip with most
    frames first, then all second ones; and how many frames each step has."""
    lengths = frames.counts
    longest = np.argsort(-lengths, kind="stable")
    first = (np.cumsum(lengths) - lengths)[longest]
    steps = np.arange(lengths.max(initial=0))[:, None]
    there = steps < lengths[longest]
    order = torch.from_numpy((first + steps)[there]).to(frames.rows.device)
    return order, there.sum(axis=1).tolist()


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
