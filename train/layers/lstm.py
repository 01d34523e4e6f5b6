"""Recurrence over frames without padding: an LSTM whose clips of like length share a pass, a GRU
both ways."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from .attention import Company, placed
from .length_buckets import like_length

STEP = 6
"""Rows that take as long as a further step of a pass of its own."""


class RowLSTM(nn.LSTM):
    """A one-way `nn.LSTM` of one layer, with its names and its first weights."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units."""
        super().__init__(width, hidden, batch_first=True)

    def rows(self, rows: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        """Frames (n, width), sequence after sequence, of these `lengths` -> states (n, hidden)."""
        projected = self.input_size > 4 * self.hidden_size
        if projected:  # one product over real frames; else it would be one over padding too
            biases = self.bias_ih_l0 + self.bias_hh_l0
            rows = functional.linear(rows, self.weight_ih_l0, biases)
            rows = rows.to(biases.dtype)  # under mixed precision it is not that of the recurrence
        first = np.cumsum(lengths) - lengths
        there = np.flatnonzero(lengths)
        groups = [there[group] for group in like_length(lengths[there], rows.device, step=STEP)]
        together = [Company.made(first[own], lengths[own], rows.device) for own in groups]
        found = [rows.new_zeros(0, self.hidden_size)]
        for one in together:
            # what stands in padding comes after a sequence's last frame: no state depends on it
            padded = one.padded(rows)
            states = self._recurrence(padded) if projected else self(padded)[0]
            found.append(one.real(states))
        return placed(found, together, rows)

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


class RowGRU(nn.GRU):
    """A two-way `nn.GRU` of one layer, with its names and its first weights."""

    def __init__(self, width: int, hidden: int) -> None:
        """For frames of length `width`; `hidden` units each way."""
        super().__init__(width, hidden, bidirectional=True)

    def rows(self, rows: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        """Frames (n, width), sequence after sequence, of these `lengths` -> (n, 2 * hidden)."""
        if not len(rows):
            return rows.new_zeros(0, 2 * self.hidden_size)
        # as the library packs sequences: first frames of all, the longest first, then second frames
        longest = np.argsort(-lengths, kind="stable")
        first = (np.cumsum(lengths) - lengths)[longest]
        steps = np.arange(lengths.max())[:, None]
        there = steps < lengths[longest]
        order = torch.from_numpy((first + steps)[there]).to(rows.device)
        packed = PackedSequence(rows.index_select(0, order), torch.from_numpy(there.sum(axis=1)))
        states = self(packed)[0].data
        return torch.empty_like(states).index_copy(0, order, states)
