"""Attention among frames without padding: sequences of like length share one product.

A padded batch is as long as its longest clip, and attention grows with the square of that: most of
it would be for nothing. Sequences of like length are therefore padded to each other only, a pair of
buckets at a time, on a CPU so few that what is between the products stays in its cache.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from .buckets import Bucket, scattered
from .dropout import kept
from .packed import Packed
from .padded_mode import in_padded_mode

CALL = 2**14
"""Attention weights that take as long as a further call, on a CPU."""
CALL_ON_GPU = 2**22
"""The same there."""
MOST = 2**18
"""Attention weights of a bucket on a CPU, unless a single sequence has more: 1 MB of float32."""

Pair = tuple[Bucket, Bucket]
"""Queries, and the keys that they see, sequence by sequence."""


def attention_buckets(queries: Packed, keys: Packed, heads: int) -> list[Pair]:
    """Who sees whom: each sequence of `queries` those frames that `keys` has of the same clip.

    Sequences that lack either are in no bucket.
    """

    def make() -> list[Pair]:
        device, alone = queries.rows.device, queries.number == keys.number
        if queries.real is not None or (alone and device.type != "cpu"):  # no length is asked for
            everyone = queries.everyone if len(queries.rows) else None
            own = everyone if alone else keys.everyone
            return [(everyone, own)] if everyone is not None and own is not None else []
        counts, others = queries.counts, keys.counts
        return bucket_pairs(counts, counts if alone else others, heads, device, MOST)

    return queries.once(("attention", keys.number, heads), make)


def bucket_pairs(
    queries: NDArray[np.int64],
    keys: NDArray[np.int64],
    heads: int,
    device: torch.device,
    most: int = MOST,
) -> list[Pair]:
    """The same for sequences of `queries` and of `keys` frames, each (sequences,).

    On a CPU a bucket has `most` attention weights, or one sequence.
    """
    first, first_key = np.cumsum(queries) - queries, np.cumsum(keys) - keys
    order = np.lexsort((-queries, -keys))  # the longest first
    order = order[(queries[order] > 0) & (keys[order] > 0)]
    limits = (CALL, most) if device.type == "cpu" else (CALL_ON_GPU, math.inf)
    pairs = list[Pair]()
    for begin, end in pairwise(_bounds(queries[order], keys[order], heads, *limits)):
        own = order[begin:end]
        here = Bucket.of(own, first[own], queries[own], device)
        same = queries is keys
        pairs.append((here, here if same else Bucket.of(own, first_key[own], keys[own], device)))
    return pairs


def _bounds(
    queries: NDArray[np.int64], keys: NDArray[np.int64], heads: int, call: int, most: float
) -> list[int]:
    """Where buckets begin, and the end: one ends where it would hold more than `most` weights,
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


def self_attention(projected: Packed, heads: int, dropout: float, causal: bool = False) -> Tensor:
    """Queries, keys and values side by side (N, 3 * width) -> (N, width).

    `causal`: no frame sees a later one.
    """
    width, parts = projected.rows.shape[1] // 3, list[Tensor]()
    pairs = attention_buckets(projected, projected, heads)
    for bucket, _ in pairs:
        three = bucket.padded(projected.rows).view(*bucket.rows.shape, 3, heads, width // heads)
        query, key, value = three.permute(2, 0, 3, 1, 4)  # (b, heads, t, width / heads)
        mask = _past(bucket, bucket) if causal else bucket.keys
        mixed = attend(query, key, value, mask, dropout)
        parts.append(bucket.real(mixed.transpose(1, 2).flatten(2)))
    empty = projected.rows[:0, :width]
    return scattered(parts or [empty], [bucket for bucket, _ in pairs], projected.rows)


def cross_attention(
    query: Packed, key_value: Packed, heads: int, dropout: float, causal: bool = False
) -> Tensor:
    """Rows (N, width) see rows (M, 2 * width) -> (N, width); zero where there is nothing to see.

    `causal`: a frame sees as many later ones as the two sequences differ in length, no more.
    """
    pairs, parts = attention_buckets(query, key_value, heads), list[Tensor]()
    for here, there in pairs:
        asked = here.padded(query.rows).view(*here.rows.shape, heads, -1).transpose(1, 2)
        split = there.padded(key_value.rows).view(*there.rows.shape, 2, heads, asked.shape[-1])
        key, value = split.permute(2, 0, 3, 1, 4)
        mask = _past(here, there) if causal else there.keys
        mixed = attend(asked, key, value, mask, dropout)
        parts.append(here.real(mixed.transpose(1, 2).flatten(2)))
    return scattered(parts or [query.rows[:0]], [here for here, _ in pairs], query.rows)


def _past(queries: Bucket, keys: Bucket) -> Tensor:
    """(b, t, s) bool: what each query sees of its clip's keys under a `causal` attention."""
    step = torch.arange(queries.mask.shape[1], device=queries.mask.device).unsqueeze(1)
    key = torch.arange(keys.mask.shape[1], device=keys.mask.device)
    ahead = (queries.mask.sum(dim=1) - keys.mask.sum(dim=1)).abs().view(-1, 1, 1)
    known = keys.mask if keys.keys is None else keys.keys
    return (key <= step + ahead) & known.unsqueeze(1)


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float
) -> Tensor:
    """Scaled dot-product attention, (b, heads, t, any) each, over the keys of `mask` (b, s), or of
    each query's own (b, t, s).

    Every query needs a key; no mask: all keys are real.
    """
    by_pytorch = query.device.type != "cpu" or in_padded_mode()
    if by_pytorch or torch.is_autocast_enabled("cpu"):
        wide = mask is not None and mask.dim() == 3
        keys = None if mask is None else mask[:, None] if wide else mask[:, None, None]
        return functional.scaled_dot_product_attention(query, key, value, keys, dropout)
    batch, heads, frames, width = query.shape
    columns = [x.transpose(2, 3).flatten(0, 1) for x in (query / math.sqrt(width), key, value)]
    bias = None
    if mask is not None:
        hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -math.inf)
        bias = hidden.repeat_interleave(heads, dim=0)
        bias = bias if mask.dim() == 3 else bias.unsqueeze(1)
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
        """(n, width, t), (n, width, s) twice, (n, 1 or t, s), a share -> (n, width, t)."""
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
