"""Attention of EMT's promotion units (Eqs. 2 and 3), on frames without padding.

In EMT's own strategy one side of a cross attention is short: the context, a vector a modality.
Then no query, key or value of the other side's frames is ever made. With x a frame and k a key of
head h, qᵀk = (W_q x)ᵀ k = xᵀ (W_qᵀ k), and values may be summed before W_v as well as after: the
few vectors of the context take on the weights of both sides, and a frame costs one product with
each of them instead of one with two square matrices.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers.attention import attention_buckets, cross_attention
from ...layers.buckets import Bucket, scattered
from ...layers.dropout import drop
from ...layers.linear import Linear
from ...layers.packed import Packed


class Attention(nn.Module):
    """Multi-head attention of one sequence to another, or to itself (Eqs. 2 and 3).

    No bias in queries, keys and values; dropout on the attention weights. A clip whose source has
    no frame gets only the bias of the last layer.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """For rows of length `width`, split among `heads`."""
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        self.query = Linear(width, width, bias=False)
        self.key_value = Linear(width, 2 * width, bias=False)
        self.out = Linear(width, width)

    def forward(self, target: Packed, source: Packed) -> Tensor:
        """Rows (N, width) and (M, width), sequence after sequence -> (N, width)."""
        pairs = attention_buckets(target, source, self.heads)
        if pairs and all(self._is_short(here) or self._is_short(there) for here, there in pairs):
            parts = [
                (self._of_few if self._is_short(there) else self._by_few)(
                    target.rows, source.rows, here, there
                )
                for here, there in pairs
            ]
            return scattered(parts, [here for here, _ in pairs], target.rows) + self.out.bias
        query, key_value = target.map(self.query), source.map(self.key_value)
        dropout = self.dropout if self.training else 0.0
        seen: Tensor = self.out(cross_attention(query, key_value, self.heads, dropout))
        return seen

    def _is_short(self, bucket: Bucket) -> bool:
        """Whether all heads' vectors of its sequences are fewer than half the rows of a matrix."""
        return 2 * self.heads * bucket.rows.shape[1] < self.width

    def _of_few(self, target: Tensor, source: Tensor, here: Bucket, there: Bucket) -> Tensor:
        """Many queries t, few keys s: rows -> what the queries find (n, width), without bias."""
        x, y = here.padded(target), there.padded(source)
        key, value = functional.linear(y, self.key_value.weight).chunk(2, dim=2)
        keys = torch.einsum("bshe,hed->bhsd", self._split(key), self._heads(self.query.weight))
        scores = self._scores(keys, x)  # (b, heads, s, t)
        if (known := there.keys) is not None:
            scores = scores.masked_fill(~known[:, None, :, None], -math.inf)
        shares = self._dropped(torch.softmax(scores, dim=2)).flatten(1, 2)
        out = self.out.weight.view(self.width, self.heads, -1)
        values = torch.einsum("bshe,dhe->bhsd", self._split(value), out).flatten(1, 2)
        return here.real(shares.transpose(1, 2) @ values)

    def _by_few(self, target: Tensor, source: Tensor, here: Bucket, there: Bucket) -> Tensor:
        """Few queries s, many keys t: the same."""
        x, y = here.padded(target), there.padded(source)
        of_keys, of_values = self.key_value.weight.chunk(2)
        query = self._split(functional.linear(x, self.query.weight))
        queries = torch.einsum("bshe,hed->bhsd", query, self._heads(of_keys))
        scores = self._scores(queries, y)  # (b, heads, s, t)
        if (known := there.keys) is not None:
            scores = scores.masked_fill(~known[:, None, None], -math.inf)
        shares = self._dropped(torch.softmax(scores, dim=3))
        read = (shares.flatten(1, 2) @ y).view(*shares.shape[:3], -1)  # (b, heads, s, width)
        values = torch.einsum("bhsd,hed->bshe", read, self._heads(of_values)).flatten(2)
        return here.real(functional.linear(values, self.out.weight))

    def _scores(self, few: Tensor, many: Tensor) -> Tensor:
        """(b, heads, s, width), (b, t, width) -> (b, heads, s, t)."""
        scaled = few.flatten(1, 2) / math.sqrt(self.width // self.heads)
        return (scaled @ many.transpose(1, 2)).view(*few.shape[:3], -1)

    def _dropped(self, shares: Tensor) -> Tensor:
        return drop(shares, self.dropout) if self.training else shares

    def _split(self, x: Tensor) -> Tensor:
        """(b, s, width) -> (b, s, heads, width of a head)."""
        return x.reshape(*x.shape[:2], self.heads, -1)

    def _heads(self, weight: Tensor) -> Tensor:
        """(width, width) -> (heads, width of a head, width)."""
        return weight.reshape(self.heads, -1, self.width)
