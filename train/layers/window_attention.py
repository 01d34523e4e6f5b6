"""Attention of every query over a short window of keys."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .dropout import drop


def windows(number: Tensor, length: Tensor, window: int, stride: int, shift: int) -> Tensor:
    """Numbers of the keys that some queries see, (window, n) int64.

    Query i of a clip, counted from 0, sees (i + 1) * stride - window + shift + k, k = 0 … window
    - 1, modulo the clip's keys. Query by query: its own `number` and its clip's `length` in keys,
    at least 1, each (n,). Where the window has more room than the clip has keys, they stand in it
    again.
    """
    offsets = torch.arange(window, device=number.device).unsqueeze(1)
    return ((number + 1) * stride - window + shift + offsets) % length


@dataclass(frozen=True)
class WindowIndex:
    """The queries that are real and have keys, in a table of `places` rows a sequence."""

    row: Tensor
    """(n,) where each query stands."""
    number: Tensor
    """(n,) which query of its sequence it is."""
    first: Tensor
    """(n,) where its sequence's keys begin, in their own table."""
    length: Tensor
    """(n,) how many there are."""

    @classmethod
    def of(
        cls, queries: Tensor, keys: Tensor, places: int, first: Tensor | None = None
    ) -> "WindowIndex":
        """Numbers of `queries` and of `keys`, one a sequence, in any one shape.

        Keys begin at `first`; by default they too have `places` rows a sequence.
        """
        steps = torch.arange(places, device=queries.device)
        real = (steps < queries.flatten().unsqueeze(1)) & (keys.flatten() > 0).unsqueeze(1)
        row = real.flatten().nonzero().squeeze(1)
        sequence = row // places
        start = sequence * places if first is None else first.flatten()[sequence]
        return cls(row, row % places, start, keys.flatten()[sequence])

    def keys(self, window: int, stride: int = 1, shift: int = 0) -> Tensor:
        """Rows of the key table that every query sees, (window, n)."""
        return self.first + windows(self.number, self.length, window, stride, shift)


def attend_windows(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, dropout: float
) -> Tensor:
    """Scaled dot-product attention of each query over its own window.

    (n, width), (window, n, width) twice -> (n, width).
    """
    n, width = queries.shape
    split = (n, heads, width // heads)
    scores = (keys.view(len(keys), *split) * (queries * split[-1] ** -0.5).view(split)).sum(-1)
    shares = drop(torch.softmax(scores, dim=0), dropout)  # (window, n, heads)
    return (shares.unsqueeze(-1) * values.view(len(values), *split)).sum(0).flatten(1)


def take(table: Tensor, rows: Tensor) -> Tensor:
    """`table[rows]`, (rows, width) -> (*rows.shape, width), with gradients that repeat."""
    if table.device.type == "cuda":
        return table[rows]  # sorts before it sums; index_add of the other way sums in any order
    return table.index_select(0, rows.flatten()).view(*rows.shape, table.shape[-1])
