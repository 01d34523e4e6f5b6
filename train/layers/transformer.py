"""Transformers: a clip's frames see each other, or those of another modality.

Shapes: N real frames of the whole batch, d the common width.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import cross_attention, self_attention
from .dropout import Dropout
from .linear import Linear, SelfInitialized
from .packed import Packed

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class QueryKeyValue(SelfInitialized):
    """The three projections of an attention as one matrix, begun as Glorot has it."""

    def reset_parameters(self) -> None:
        """Xavier uniform over the packed matrix; biases zero."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class AttentiveLayer(nn.Module):
    """Weights of an attention and of a feed-forward network behind it, with a norm for each."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        attention_dropout: float,
        dropout: float,
        inner_dropout: float | None = None,
    ) -> None:
        """`dropout` acts behind the attention, behind and, unless that has a share of its own,
        inside the feed-forward."""
        super().__init__()
        self.heads = heads
        inner = dropout if inner_dropout is None else inner_dropout
        self.attention_dropout = attention_dropout
        self.projections = QueryKeyValue(width, 3 * width)
        self.attended = Linear(width, width)
        nn.init.zeros_(self.attended.bias)
        self.feedforward = nn.Sequential(
            Linear(width, feedforward), nn.ReLU(), Dropout(inner), Linear(feedforward, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = Dropout(dropout)

    @property
    def share(self) -> float:
        """Of attention weights that are dropped now."""
        return self.attention_dropout if self.training else 0.0


class TransformerLayer(AttentiveLayer):
    """Self-attention and feed-forward with residuals, normed before (`norm_first`) or after."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        attention_dropout: float,
        dropout: float,
        norm_first: bool,
        causal: bool = False,
        inner_dropout: float | None = None,
    ) -> None:
        super().__init__(width, heads, feedforward, attention_dropout, dropout, inner_dropout)
        self.norm_first, self.causal = norm_first, causal

    def forward(self, frames: Packed) -> Packed:
        """(N, d) -> (N, d)."""
        x, (first, second) = frames.rows, self.norms
        if self.norm_first:
            x = x + self.dropout(self._attention(frames.like(first(x))))
            x = x + self.dropout(self.feedforward(second(x)))
        else:
            x = first(x + self.dropout(self._attention(frames)))
            x = second(x + self.dropout(self.feedforward(x)))
        return frames.like(x)

    def _attention(self, frames: Packed) -> Tensor:
        projected = frames.map(self.projections)
        attended: Tensor = self.attended(
            self_attention(projected, self.heads, self.share, self.causal)
        )
        return attended


class CrossmodalLayer(AttentiveLayer):
    """Attention of one sequence to another and feed-forward, each normed before, with residuals."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        attention_dropout: float,
        dropout: float,
        reference: bool = False,
        inner_dropout: float | None = None,
    ) -> None:
        """`reference`: `causal` attention, and one norm for both sequences."""
        super().__init__(width, heads, feedforward, attention_dropout, dropout, inner_dropout)
        self.causal = reference
        self.source_norm = None if reference else nn.LayerNorm(width)

    def forward(self, frames: Packed, source: Packed) -> Packed:
        """(N, d) reading (M, d) -> (N, d); a frame that has nothing to read attends to nothing."""
        x, (first, second) = frames.rows, self.norms
        width, weight, bias = x.shape[1], self.projections.weight, self.projections.bias
        query = functional.linear(first(x), weight[:width], bias[:width])
        read = (self.source_norm or first)(source.rows)
        both = source.like(functional.linear(read, weight[width:], bias[width:]))
        found = cross_attention(frames.like(query), both, self.heads, self.share, self.causal)
        x = x + self.dropout(self.attended(found))
        return frames.like(x + self.dropout(self.feedforward(second(x))))


def sinusoids(position: Tensor, width: int) -> Tensor:
    """(N,) float positions -> (N, width): all sines, then all cosines (and 0 if `width` is odd)."""
    half = width // 2
    rates = torch.arange(half, dtype=position.dtype, device=position.device) / max(1, half - 1)
    angles = position.unsqueeze(1) * torch.exp(-math.log(10000) * rates)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return functional.pad(waves, (0, width % 2))


def with_positions(frames: Packed, positions: bool = True) -> Packed:
    """(N, d) times sqrt(d), plus the sinusoids of the frames' places in their clips, from 1."""
    width = frames.rows.shape[1]
    if not positions:
        return frames.like(math.sqrt(width) * frames.rows)
    exact = torch.promote_types(frames.rows.dtype, torch.float32)  # also under mixed precision
    places = sinusoids((frames.step + 1).to(exact), width)
    return frames.like(math.sqrt(width) * frames.rows + places)


def xavier_init(module: AnyModule) -> AnyModule:
    """`module`, first weights of its `Linear` layers Xavier uniform; biases zero."""
    for part in module.modules():
        if isinstance(part, Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module


class SequenceEncoder(nn.Module):
    """A pre-norm transformer over each clip's frames, normed at its end: that of MulT, and TE of
    GLoMo (its Eqs. 3 and 4)."""

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float,
        dropout: float,
        embedding_dropout: float,
        reference: bool = False,
        inner_dropout: float | None = None,
    ) -> None:
        """Feed-forward layers are four times as wide as the frames. `reference`: `causal`
        attention, and no positions."""
        super().__init__()
        self.positions = not reference
        shares = attention_dropout, dropout
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, 4 * width, *shares, True, reference, inner_dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(embedding_dropout)
        xavier_init(self)

    def forward(self, frames: Packed) -> Packed:
        """(N, d) -> (N, d)."""
        frames = with_positions(frames, self.positions).map(self.dropout)
        for layer in self.layers:
            frames = layer(frames)
        return frames.map(self.norm)


class CrossmodalEncoder(nn.Module):
    """A pre-norm transformer by which one modality's frames read another's, normed at its end.

    Every layer reads the other modality as it came in; frames that read themselves, as the layer
    before left them.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float,
        dropout: float,
        embedding_dropout: float = 0.0,
        reference: bool = False,
        inner_dropout: float | None = None,
    ) -> None:
        """Feed-forward layers are four times as wide as the frames; `embedding_dropout` acts on
        both sequences. `reference`: see `CrossmodalLayer`."""
        super().__init__()
        shares = attention_dropout, dropout
        self.layers = nn.ModuleList(
            CrossmodalLayer(width, heads, 4 * width, *shares, reference, inner_dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(embedding_dropout)

    def forward(self, frames: Packed, source: Packed) -> Packed:
        """Frames `with_positions` (N, d) reading (M, d) -> (N, d)."""
        within = source is frames
        frames = frames.map(self.dropout)
        source = frames if within else source.map(self.dropout)
        for layer in self.layers:
            frames = layer(frames, frames if within else source)
        return frames.map(self.norm)
