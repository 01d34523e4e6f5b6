"""Attention among frames without padding: sequences of like length share one product.

Frames are rows of a table, sequence after sequence. A padded batch is as long as its longest clip,
and attention grows with the square of that: most of it would be for nothing. Sequences of like
length are therefore padded to each other only, a `Company` at a time, on a CPU so few that what
is between the products stays in its cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from .dropout import kept
from .linear import computes_everywhere

CALL = 2**14
"""Attention weights that take as long as a further call, on a CPU."""
CALL_ON_GPU = 2**22
"""The same there."""
COMPANY = 2**18
"""Attention weights of a company on a CPU, unless a single sequence has more: 1 MB of float32."""


@dataclass(frozen=True)
class Company:
    """Some sequences of like length, padded to the longest of them."""

    rows: Tensor
    """(b, t) int64: where each frame lies among the rows of all sequences; any row for padding."""
    mask: Tensor
    """(b, t), True = real frame."""
    place: Tensor
    """(n,) int64: the real frames among the b * t."""
    members: Tensor
    """(n,) int64: their rows, ``rows.flatten()[place]``."""

    @classmethod
    def of(cls, rows: Tensor, mask: Tensor) -> "Company":
        """The company of these `rows`."""
        place = mask.flatten().nonzero().squeeze(1)
        return cls(rows, mask, place, rows.flatten().index_select(0, place))

    @classmethod
    def made(
        cls, first: NDArray[np.int64], lengths: NDArray[np.int64], device: torch.device
    ) -> "Company":
        """The company of the sequences that begin at rows `first`, (b,) each."""
        steps = np.arange(lengths.max())
        mask = steps < lengths[:, None]
        rows = np.where(mask, first[:, None] + steps, first[:, None])
        place = np.flatnonzero(mask)
        arrays = rows, mask, place, rows.ravel()[place]
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    @property
    def full(self) -> bool:
        """Whether no frame is padding."""
        return len(self.place) == self.mask.numel()

    def padded(self, table: Tensor) -> Tensor:
        """Rows (N, …) -> (b, t, …), with some row in padding."""
        picked = table.index_select(0, self.rows.flatten())
        return picked.view(*self.rows.shape, *table.shape[1:])

    def real(self, padded: Tensor) -> Tensor:
        """(b, t, …) -> the real frames (n, …), in the order of `members`."""
        flat = padded.flatten(0, 1)
        return flat if self.full else flat.index_select(0, self.place)


@dataclass(frozen=True)
class Meeting:
    """The frames of `here`, which look at those of `there`, sequence by sequence."""

    here: Company
    there: Company


def meetings(
    queries: NDArray[np.int64],
    keys: NDArray[np.int64],
    heads: int,
    device: torch.device,
    most: int = COMPANY,
) -> tuple[Meeting, ...]:
    """Who meets, for sequences of `queries` and of `keys` frames, each (sequences,).

    Sequences that lack either are in no meeting. On a CPU a meeting has `most` attention weights,
    or one sequence.
    """
    first = np.cumsum(queries) - queries
    first_key = np.cumsum(keys) - keys
    order = np.lexsort((-queries, -keys))  # the longest first
    order = order[(queries[order] > 0) & (keys[order] > 0)]
    found = []
    limits = (CALL, most) if device.type == "cpu" else (CALL_ON_GPU, math.inf)
    for begin, end in pairwise(_bounds(queries[order], keys[order], heads, *limits)):
        chosen = order[begin:end]
        here = Company.made(first[chosen], queries[chosen], device)
        same = queries is keys
        there = here if same else Company.made(first_key[chosen], keys[chosen], device)
        found.append(Meeting(here, there))
    return tuple(found)


def _bounds(
    queries: NDArray[np.int64], keys: NDArray[np.int64], heads: int, call: int, most: float
) -> list[int]:
    """Where meetings begin, and the end: one ends where it would hold more than `most` weights,
    or where padding costs more than a further `call`."""
    bounds, longest, longest_key, weights = [0], 0, 0, 0
    for position, (query, key) in enumerate(zip(queries.tolist(), keys.tolist(), strict=True)):
        longest, longest_key = max(longest, query), max(longest_key, key)
        weights += heads * query * key
        all_of_them = heads * (position + 1 - bounds[-1]) * longest * longest_key
        if position > bounds[-1] and (all_of_them > most or all_of_them - weights > call):
            bounds.append(position)
            longest, longest_key, weights = query, key, heads * query * key
    return [*bounds, len(queries)] if len(queries) else bounds


def attend_rows(
    query: Tensor, key_value: Tensor, met: Sequence[Meeting], heads: int, dropout: float
) -> Tensor:
    """Rows (N, width) and (M, 2 * width) -> (N, width); zero for a row in no meeting."""
    found, width = [query[:0]], query.shape[1]
    for one in met:
        asked = one.here.padded(query).view(*one.here.rows.shape, heads, -1).transpose(1, 2)
        split = one.there.padded(key_value).view(*one.there.rows.shape, 2, heads, width // heads)
        key, value = split.permute(2, 0, 3, 1, 4)
        mask = None if one.there.full else one.there.mask
        mixed = attend(asked, key, value, mask, dropout)
        found.append(one.here.real(mixed.transpose(1, 2).flatten(2)))
    return placed(found, [one.here for one in met], query)


def placed(found: Sequence[Tensor], companies: Sequence[Company], like: Tensor) -> Tensor:
    """What companies `found`, (n, width) each, at their rows in a table like `like`; else zero."""
    members = torch.cat([like.new_empty(0, dtype=torch.int64), *(c.members for c in companies)])
    together = torch.cat(list(found))
    blank = together.new_zeros(len(like), together.shape[1])
    return blank.index_copy(0, members, together)


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float
) -> Tensor:
    """Scaled dot-product attention, (b, heads, t, any) each, over the keys of `mask` (b, t).

    Every sequence needs a key; no mask: all keys are real.
    """
    by_pytorch = query.device.type != "cpu" or computes_everywhere()
    if by_pytorch or torch.is_autocast_enabled("cpu"):
        keys = None if mask is None else mask[:, None, None]
        return functional.scaled_dot_product_attention(query, key, value, keys, dropout)
    batch, heads, frames, width = query.shape
    columns = [x.transpose(2, 3).flatten(0, 1) for x in (query / math.sqrt(width), key, value)]
    bias = None
    if mask is not None:
        hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -math.inf)
        bias = hidden.repeat_interleave(heads, dim=0).unsqueeze(1)
    mixed: Tensor = _Attention.apply(*columns, bias, dropout)
    return mixed.view(batch, heads, width, frames).transpose(2, 3)


class _Attention(torch.autograd.Function):
    """softmax(queryᵀ key + bias), some of it dropped, times value: all by columns.

    Heads are narrow (three numbers, in one of our models). Products then are slow with the narrow
    side behind, and quick with it in front, as it is here in all six of them. Nothing else passes
    over the weights more often than it must.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """(n, width, t), (n, width, s) twice, (n, 1, s), a share -> (n, width, t)."""
        if bias is None:
            scores = torch.bmm(query.transpose(1, 2), key)
        else:
            scores = torch.baddbmm(bias, query.transpose(1, 2), key)
        weights = torch.softmax(scores, dim=2)
        if not dropout:
            ctx.save_for_backward(query, key, value, weights)
            ctx.scale = 1.0  # type: ignore[attr-defined]
            return torch.bmm(value, weights.transpose(1, 2))
        keep, scale = kept(tuple(weights.shape), dropout, weights.device, weights.dtype)
        ctx.save_for_backward(query, key, value, weights, keep)
        ctx.scale = scale  # type: ignore[attr-defined]
        used = torch.mul(weights, keep, out=scores)
        return torch.bmm(value * scale, used.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, towards: Tensor) -> tuple[Tensor | None, ...]:
        """(n, width, t) -> gradients of query, key and value."""
        query, key, value, weights, *keep = ctx.saved_tensors  # type: ignore[attr-defined]
        towards = towards * ctx.scale  # type: ignore[attr-defined]
        used = weights * keep[0] if keep else weights
        change = torch.bmm(towards.transpose(1, 2), value).mul_(used)
        change.addcmul_(weights, change.sum(dim=2, keepdim=True), value=-1)
        return (
            torch.bmm(key, change.transpose(1, 2)),
            torch.bmm(query, change),
            torch.bmm(towards, used),
            None,
            None,
        )
