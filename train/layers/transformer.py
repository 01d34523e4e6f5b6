"""Transformers over packed frames: a clip's frames look at each other, or at another modality's.

Shapes: N real frames of the whole batch, d the common width.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import Company, Meeting, attend, attend_rows, placed
from .dropout import Dropout
from .linear import FrameLinear
from .packed import OwnStart, Packed

Begun = TypeVar("Begun", bound=nn.Module)


class QueryKeyValue(OwnStart):
    """The three projections of an attention as one matrix, begun as Glorot has it."""

    def reset_parameters(self) -> None:
        """Xavier uniform over the packed matrix; biases zero."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class AttentiveLayer(nn.Module):
    """Weights of an attention and of a feed-forward network behind it, with a norm for each."""

    def __init__(
        self, width: int, heads: int, feedforward: int, attention_dropout: float, dropout: float
    ) -> None:
        """`dropout` acts behind the attention, inside and behind the feed-forward."""
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.projections = QueryKeyValue(width, 3 * width)
        self.attended = FrameLinear(width, width)
        nn.init.zeros_(self.attended.bias)
        self.feedforward = nn.Sequential(
            FrameLinear(width, feedforward),
            nn.ReLU(),
            Dropout(dropout),
            FrameLinear(feedforward, width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = Dropout(dropout)


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
    ) -> None:
        super().__init__(width, heads, feedforward, attention_dropout, dropout)
        self.norm_first = norm_first

    def forward(self, rows: Tensor, companies: Sequence[Company]) -> Tensor:
        """(N, d) -> (N, d); a row in no company attends to nothing."""
        for block, norm in ((self._attention, self.norms[0]), (self._feed, self.norms[1])):
            if self.norm_first:
                rows = rows + self.dropout(block(norm(rows), companies))
            else:
                rows = norm(rows + self.dropout(block(rows, companies)))
        return rows

    def _feed(self, rows: Tensor, companies: Sequence[Company]) -> Tensor:
        fed: Tensor = self.feedforward(rows)
        return fed

    def _attention(self, rows: Tensor, companies: Sequence[Company]) -> Tensor:
        joined = self.projections(rows)
        dropout = self.attention_dropout if self.training else 0.0
        found = [joined[:0, : rows.shape[1]]]  # for a batch without any company
        for one in companies:
            shape = (*one.rows.shape, 3, self.heads, rows.shape[1] // self.heads)
            three = joined.index_select(0, one.rows.flatten()).view(shape)
            query, key, value = three.permute(2, 0, 3, 1, 4)  # (b, heads, t, d / heads)
            # where a clip has no frame at all, nothing would be left for the softmax to divide by
            keys = one.mask | ~one.mask.any(dim=1, keepdim=True)
            heads = attend(query, key, value, None if one.full else keys, dropout)
            found.append(one.real(heads.transpose(1, 2).flatten(2)))
        attended: Tensor = self.attended(placed(found, companies, rows))
        return attended


class CrossmodalLayer(AttentiveLayer):
    """Attention of one sequence to another and feed-forward, each normed before, with residuals."""

    def __init__(
        self, width: int, heads: int, feedforward: int, attention_dropout: float, dropout: float
    ) -> None:
        super().__init__(width, heads, feedforward, attention_dropout, dropout)
        self.source_norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor, source: Tensor, met: Sequence[Meeting]) -> Tensor:
        """(N, d) reading (M, d) -> (N, d); a row in no meeting attends to nothing."""
        width, weight, bias = rows.shape[1], self.projections.weight, self.projections.bias
        query = functional.linear(self.norms[0](rows), weight[:width], bias[:width])
        key_value = functional.linear(self.source_norm(source), weight[width:], bias[width:])
        dropout = self.attention_dropout if self.training else 0.0
        found = self.attended(attend_rows(query, key_value, met, self.heads, dropout))
        rows = rows + self.dropout(found)
        done: Tensor = rows + self.dropout(self.feedforward(self.norms[1](rows)))
        return done


def sinusoids(step: Tensor, width: int) -> Tensor:
    """(N,) float positions -> (N, width): all sines, then all cosines (and 0 if `width` is odd)."""
    half = width // 2
    rates = torch.arange(half, dtype=step.dtype, device=step.device) / max(1, half - 1)
    angles = step.unsqueeze(1) * torch.exp(-math.log(10000) * rates)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return functional.pad(waves, (0, width % 2))


def embedded(rows: Tensor, packed: Packed) -> Tensor:
    """(N, d), the frames of `packed`, times sqrt(d), and with the sinusoids of their places."""
    width = rows.shape[1]
    exact = torch.promote_types(rows.dtype, torch.float32)  # also under mixed precision
    return math.sqrt(width) * rows + sinusoids((packed.step + 1).to(exact), width)


def begun_as_glorot(module: Begun) -> Begun:
    """`module`, first weights of its linear layers over frames Xavier uniform; biases zero."""
    for part in module.modules():
        if isinstance(part, FrameLinear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module


class SequenceEncoder(nn.Module):
    """A pre-norm transformer over each clip's frames, normed at its end.

    It is that of MulT, and TE of GLoMo (its Eqs. 3 and 4).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float,
        dropout: float,
        embedding_dropout: float,
    ) -> None:
        """Feed-forward layers are four times as wide as the frames."""
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, 4 * width, attention_dropout, dropout, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(embedding_dropout)
        begun_as_glorot(self)

    def forward(self, rows: Tensor, packed: Packed) -> Tensor:
        """(N, d), the frames of `packed` -> (N, d)."""
        rows = self.dropout(embedded(rows, packed))
        companies = packed.companies(self.heads)
        for layer in self.layers:
            rows = layer(rows, companies)
        normed: Tensor = self.norm(rows)
        return normed


class CrossmodalEncoder(nn.Module):
    """A pre-norm transformer by which one modality's frames read another's, normed at its end.

    Every layer reads the other modality as it came in; frames that read themselves, as the layer
    before left them.
    """

    def __init__(
        self, width: int, heads: int, layers: int, attention_dropout: float, dropout: float
    ) -> None:
        """Feed-forward layers are four times as wide as the frames."""
        super().__init__()
        self.layers = nn.ModuleList(
            CrossmodalLayer(width, heads, 4 * width, attention_dropout, dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor, source: Tensor, met: Sequence[Meeting]) -> Tensor:
        """`embedded` frames (N, d) reading (M, d) -> (N, d)."""
        within = source is rows
        for layer in self.layers:
            rows = layer(rows, rows if within else source, met)
        normed: Tensor = self.norm(rows)
        return normed
