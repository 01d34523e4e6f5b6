"""Attention of EMT's promotion units (Eqs. 2 and 3), on frames without padding.

In EMT's own strategy one side of a cross attention is short: the context, a vector a modality.
Then no query, key or value of the other side's frames is ever made. With x a frame and k a key of
head h, qᵀk = (W_q x)ᵀ k = xᵀ (W_qᵀ k), and values may be summed before W_v as well as after: the
few vectors of the context take on the weights of both sides, and a frame costs one product with
each of them instead of one with two square matrices.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers.attention import Company, Meeting, attend_rows, placed
from ...layers.dropout import drop
from ...layers.linear import FrameLinear


class Attention(nn.Module):
    """Multi-head attention of one sequence to another, or to itself (Eqs. 2 and 3).

    No bias in queries, keys and values; dropout on the attention weights. A clip whose source has
    no frame gets only the bias of the last layer.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """For rows of length `width`, split among `heads`."""
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        self.query = FrameLinear(width, width, bias=False)
        self.key_value = FrameLinear(width, 2 * width, bias=False)
        self.out = FrameLinear(width, width)

    def forward(self, target: Tensor, source: Tensor, met: Sequence[Meeting]) -> Tensor:
        """Rows (n, width) and (m, width), sequence after sequence -> (n, width)."""
        if met and all(self._is_short(one.here) or self._is_short(one.there) for one in met):
            ask = [self._of_few if self._is_short(one.there) else self._by_few for one in met]
            found = [way(target, source, one) for way, one in zip(ask, met, strict=True)]
            rows: Tensor = placed(found, [one.here for one in met], target) + self.out.bias
            return rows
        dropout = self.dropout if self.training else 0.0
        query, key_value = self.query(target), self.key_value(source)
        rows = self.out(attend_rows(query, key_value, met, self.heads, dropout))
        return rows

    def _is_short(self, company: Company) -> bool:
        """Whether all heads' vectors of its sequences are fewer than half the rows of a matrix."""
        return 2 * self.heads * company.rows.shape[1] < self.width

    def _of_few(self, target: Tensor, source: Tensor, one: Meeting) -> Tensor:
        """Many queries t, few keys s: rows -> what the queries find (n, width), without bias."""
        x, y = one.here.padded(target), one.there.padded(source)
        key, value = functional.linear(y, self.key_value.weight).chunk(2, dim=2)
        keys = torch.einsum("bshe,hed->bhsd", self._split(key), self._heads(self.query.weight))
        scores = self._scores(keys, x)  # (b, heads, s, t)
        if not one.there.full:
            scores = scores.masked_fill(~one.there.mask[:, None, :, None], -math.inf)
        shares = self._dropped(torch.softmax(scores, dim=2)).flatten(1, 2)
        out = self.out.weight.view(self.width, self.heads, -1)
        values = torch.einsum("bshe,dhe->bhsd", self._split(value), out).flatten(1, 2)
        return one.here.real(shares.transpose(1, 2) @ values)

    def _by_few(self, target: Tensor, source: Tensor, one: Meeting) -> Tensor:
        """Few queries s, many keys t: the same."""
        x, y = one.here.padded(target), one.there.padded(source)
        of_keys, of_values = self.key_value.weight.chunk(2)
        query = self._split(functional.linear(x, self.query.weight))
        queries = torch.einsum("bshe,hed->bhsd", query, self._heads(of_keys))
        scores = self._scores(queries, y)  # (b, heads, s, t)
        if not one.there.full:
            scores = scores.masked_fill(~one.there.mask[:, None, None], -math.inf)
        shares = self._dropped(torch.softmax(scores, dim=3))
        read = (shares.flatten(1, 2) @ y).view(*shares.shape[:3], -1)  # (b, heads, s, width)
        values = torch.einsum("bhsd,hed->bshe", read, self._heads(of_values)).flatten(2)
        return one.here.real(functional.linear(values, self.out.weight))

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
