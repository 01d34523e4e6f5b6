"""The mutual promotion unit of `emt_dlfr`: one half of it, and how it answers several at once.

Equation numbers are those of Sun et al. (see `emt_dlfr`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from ...layers.attention import Meeting, meetings
from ...layers.dropout import Dropout
from ...layers.linear import FrameLinear
from ...layers.row_layout import Layout
from .attention import Attention
from .options import Options


@dataclass(frozen=True)
class Plan:
    """How a unit answers several requests at once."""

    cross: tuple[Meeting, ...]
    itself: tuple[Meeting, ...]
    sizes: tuple[int, ...]
    """Rows of each request's target."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[Layout, Layout]], heads: int) -> "Plan":
        """For requests with these layouts, of target and source."""
        here = np.concatenate([one.counts for one, _ in pairs])
        there = np.concatenate([other.counts for _, other in pairs])
        device = pairs[0][0].count.device
        return cls(
            cross=meetings(here, there, heads, device),
            itself=meetings(here, here, heads, device),
            sizes=tuple(len(one.rank) for one, _ in pairs),
        )


class FeedForward(nn.Module):
    """Position-wise feed-forward network, gated: a * gelu(b) of two halves (GEGLU)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        """With `expansion` * `width` inner units."""
        super().__init__()
        self.up = FrameLinear(width, 2 * expansion * width)
        self.down = FrameLinear(expansion * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, width) -> (n, width)."""
        # two products, not two halves of one, whose gradients would be copied together
        weights, biases = self.up.weight.chunk(2), self.up.bias.chunk(2)
        value, gate = (
            functional.linear(rows, weight, bias)
            for weight, bias in zip(weights, biases, strict=True)
        )
        dropped: Tensor = self.dropout(self.down(value * functional.gelu(gate)))
        return dropped


class Promotion(nn.Module):
    """One direction of a mutual promotion unit: a target promoted by a source (Eq. 5)."""

    def __init__(self, options: Options) -> None:
        """Of the width, heads and dropout of `options`."""
        super().__init__()
        width = options.width
        self.target_norm, self.source_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = Attention(width, options.heads, options.attention_dropout)
        self.self_norm = nn.LayerNorm(width)
        self.itself = Attention(width, options.heads, options.attention_dropout)
        self.forward_norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, options.expansion, options.feedforward_dropout)

    def forward(self, target: Tensor, source: Tensor, plan: Plan) -> Tensor:
        """H_{source→target}: rows (n, width) and (m, width), request by request -> (n, width)."""
        normed, other = self.target_norm(target), self.source_norm(source)
        rows = target + self.cross(normed, other, plan.cross)
        normed = self.self_norm(rows)
        rows = rows + self.itself(normed, normed, plan.itself)
        promoted: Tensor = rows + self.feed(self.forward_norm(rows))
        return promoted
