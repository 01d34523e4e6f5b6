"""Attention and feed-forward as BERT has them: residual, then norm; four projections apart."""

import math

import torch
from torch import Tensor, nn

from .attention import cross_attention
from .dropout import Dropout
from .linear import Linear, linear
from .packed import Packed


class PostNormAttention(nn.Module):
    """LayerNorm(x + attention of x to other frames), with several heads."""

    def __init__(self, width: int, heads: int, dropout: float, epsilon: float = 1e-12) -> None:
        """For frames of `width`, a multiple of `heads`; `dropout` acts on weights and result."""
        super().__init__()
        self.heads, self.share = heads, dropout
        self.query, self.key, self.value, self.out = (Linear(width, width) for _ in range(4))
        self.dropout, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=epsilon)

    def as_pytorch_begins(self) -> None:
        """First weights of `nn.MultiheadAttention`: one Glorot matrix of three, biases zero."""
        bound = math.sqrt(6 / (4 * self.query.in_features))
        for part in (self.query, self.key, self.value):
            nn.init.uniform_(part.weight, -bound, bound)
        for part in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(part.bias)

    def forward(self, x: Packed, other: Packed) -> Packed:
        """(N, width), (M, width) -> (N, width)."""
        weight = torch.cat([self.key.weight, self.value.weight])
        key_value = linear(other.rows, weight, torch.cat([self.key.bias, self.value.bias]))
        share = self.share if self.training else 0.0
        seen = cross_attention(x.map(self.query), other.like(key_value), self.heads, share)
        return x.like(self.norm(x.rows + self.dropout(self.out(seen))))


class PostNormFeedForward(nn.Module):
    """LayerNorm(x + two linear layers with a ReLU between)."""

    def __init__(
        self,
        width: int,
        inner: int,
        dropout: float,
        epsilon: float = 1e-12,
        inner_dropout: float = 0.0,
    ) -> None:
        """For frames of `width`; dropout of the result, and as in LXMERT none between the two."""
        super().__init__()
        self.between = Dropout(inner_dropout)
        self.inner, self.out = Linear(width, inner), Linear(inner, width)
        self.dropout, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: Packed) -> Packed:
        """(N, width) -> (N, width)."""
        added: Tensor = self.out(self.between(torch.relu(self.inner(x.rows))))
        return x.like(self.norm(x.rows + self.dropout(added)))
