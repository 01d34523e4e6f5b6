"""Parts of MMML (see mmml.py): attention, cross-modal encoder layers, streams of frames.

Shapes: B clips, T frames of the longest, d the common width; masks are True where a frame is real.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..layers.attention import attend
from ..layers.dropout import Dropout


class SideOptions(Protocol):
    """What a cross-modal encoder layer needs of MMML's Options."""

    @property
    def heads(self) -> int:
        """Attention heads."""

    @property
    def expansion(self) -> int:
        """Inner units of a feed-forward network, times d."""

    @property
    def dropout(self) -> float:
        """Share dropped."""

    @property
    def self_attention(self) -> bool:
        """Whether there is any."""

    @property
    def feedforward(self) -> bool:
        """Whether there is any."""


class RestoringOptions(Protocol):
    """What the transformer variation needs of them."""

    @property
    def heads(self) -> int:
        """Attention heads."""

    @property
    def dropout(self) -> float:
        """Share dropped."""

    @property
    def restoring_layers(self) -> int:
        """Transformer layers."""

    @property
    def restoring_feedforward(self) -> int:
        """Width of their feed-forward."""


class Attention(nn.Module):
    """LayerNorm(x + attention of x to other frames), with several heads."""

    def __init__(self, width: int, heads: int, dropout: float, epsilon: float = 1e-12) -> None:
        """For frames of `width`, a multiple of `heads`."""
        super().__init__()
        self.heads, self.share = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dropout, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """(B, Q, d), (B, K, d), (B, K) with at least one real frame each -> (B, Q, d)."""
        split = (self.query(x), self.key(other), self.value(other))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in split)
        found = attend(q, k, v, mask, self.share if self.training else 0.0)
        done: Tensor = self.norm(x + self.dropout(self.out(found.transpose(1, 2).flatten(2))))
        return done


class FeedForward(nn.Module):
    """LayerNorm(x + two linear layers with a ReLU between)."""

    def __init__(self, width: int, inner: int, dropout: float, epsilon: float = 1e-12) -> None:
        """For frames of `width`."""
        super().__init__()
        self.inner, self.out = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout, self.norm = Dropout(dropout), nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        done: Tensor = self.norm(x + self.dropout(self.out(torch.relu(self.inner(x)))))
        return done


class Side(nn.Module):
    """What a cross-modal encoder layer does to one of its two modalities (section 3.2)."""

    def __init__(self, width: int, options: SideOptions) -> None:
        """Cross attention, self attention, feed-forward: the last two can be left out."""
        super().__init__()
        self.cross = Attention(width, options.heads, options.dropout)
        self.own = Attention(width, options.heads, options.dropout)
        self.feedforward = FeedForward(width, options.expansion * width, options.dropout)
        if not options.self_attention:
            del self.own
        if not options.feedforward:
            del self.feedforward
        self.options = options

    def forward(
        self, x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor, first: bool = False
    ) -> Tensor:
        """(B, Q, d) seeing (B, K, d) -> (B, Q, d); with `first`, the first frame's (B, 1, d)."""
        asked = slice(0, 1) if first else slice(None)
        if self.options.self_attention:  # which reads all frames, whoever is asked for
            x = self.cross(x, other, other_mask)
            x = self.own(x[:, asked], x, mask)
        else:
            x = self.cross(x[:, asked], other, other_mask)
        return self.feedforward(x) if self.options.feedforward else x


class CrossModalLayer(nn.Module):
    """Both modalities at once: each attends to the other as it came in."""

    def __init__(self, width: int, options: SideOptions) -> None:
        """Weights of each direction are its own."""
        super().__init__()
        self.sides = nn.ModuleList([Side(width, options) for _ in range(2)])

    def forward(
        self, streams: Sequence[Tensor], masks: Sequence[Tensor], first: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Two of (B, T_m, d) with (B, T_m) -> the same shapes; with `first`, (B, 1, d) twice."""
        (a, b), (mask_a, mask_b) = streams, masks
        one, other = self.sides
        return one(a, mask_a, b, mask_b, first), other(b, mask_b, a, mask_a, first)


class Restoring(nn.Module):
    """Transformer over fused and original frames side by side (section 3.4), one modality."""

    def __init__(self, width: int, options: RestoringOptions) -> None:
        """For frames of `width`: twice that wide."""
        super().__init__()
        double, inner, share = 2 * width, options.restoring_feedforward, options.dropout
        self.token = nn.Parameter(torch.randn(1, 1, double))
        count = range(options.restoring_layers)
        self.attentions = nn.ModuleList(
            [Attention(double, options.heads, share, 1e-5) for _ in count]
        )
        self.feedforwards = nn.ModuleList([FeedForward(double, inner, share, 1e-5) for _ in count])

    def forward(self, fused: Tensor, original: Tensor, mask: Tensor) -> Tensor:
        """(B, T, d) twice, (B, T) -> (B, 2 d) of its own [CLS]."""
        both = torch.cat([fused, original], dim=-1)
        x, mask = with_token(self.token, both, mask)
        for attention, feedforward in zip(self.attentions, self.feedforwards, strict=True):
            x = feedforward(attention(x, x, mask))
        return x[:, 0]


def with_token(token: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(1, 1, d) before each of (B, T, d); the mask says that it is real."""
    real = mask.new_ones(len(mask), 1)
    return torch.cat([token.expand(len(x), -1, -1), x], dim=1), torch.cat([real, mask], dim=1)


def joined_clips(clips: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The frames of several clips one after the other, and their mask."""
    if len(clips) == 1:
        return clips[0]
    return torch.cat([x for x, _ in clips], dim=1), torch.cat([mask for _, mask in clips], dim=1)
