"""The mutual promotion unit of `emt_dlfr`: one half of it, and how it answers several at once.

Equation numbers are those of Sun et al. (see `emt_dlfr`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...layers.dropout import Dropout
from ...layers.linear import Linear
from ...layers.packed import Packed
from .attention import Attention
from .options import Options


class FeedForward(nn.Module):
    """Position-wise feed-forward network, gated: a * gelu(b) of two halves (GEGLU)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        """With `expansion` * `width` inner units."""
        super().__init__()
        self.up = Linear(width, 2 * expansion * width)
        self.down = Linear(expansion * width, width)
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

    def forward(self, target: Packed, source: Packed) -> Packed:
        """H_{source→target}: (N, width) and (M, width) -> (N, width)."""
        H = target.rows
        H = H + self.cross(target.map(self.target_norm), source.map(self.source_norm))
        normed = target.like(self.self_norm(H))
        H = H + self.itself(normed, normed)
        return target.like(H + self.feed(self.forward_norm(H)))


Asked = tuple[Promotion, Packed, Packed]
"""A unit, a target, and the source that is to promote it."""


def promoted(asked: Sequence[Asked]) -> list[Packed]:
    """Every target promoted; what is asked of one unit is answered in one pass."""
    answers: dict[int, Packed] = {}
    for unit in dict.fromkeys(unit for unit, _, _ in asked):
        own = [k for k, (other, _, _) in enumerate(asked) if other is unit]
        targets, sources = [asked[k][1] for k in own], [asked[k][2] for k in own]
        together: Packed = unit(Packed.batch(targets), Packed.batch(sources))
        parts = torch.split(together.rows, [len(target.rows) for target in targets])
        answers |= {k: asked[k][1].like(rows) for k, rows in zip(own, parts, strict=True)}
    return [answers[k] for k in range(len(asked))]
