"""What SUGRM's Table 4 puts in the place of the sparse phased transformer: a Transformer, an LSTM.

The paper names the two and gives no sizes. Here each modality has an encoder of its own, which
sees no other modality, of the same width, depth and heads as the transformer it replaces; its
last real frame stands for the clip.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....cache.spec import Modality
from ...layers.attention import self_attention
from ...layers.linear import Linear
from ...layers.lstm import LSTM
from ...layers.packed import Packed
from ...layers.transformer import sinusoids
from .sparse_phased_transformer import Sizes


class FullAttention(nn.Module):
    """A pre-norm Transformer layer: every real frame sees every other of its clip."""

    def __init__(self, sizes: Sizes) -> None:
        """One layer's weights."""
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        self.norm = nn.LayerNorm(width)
        self.project = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width),
            Linear(width, 4 * width),
            nn.ReLU(),
            nn.Dropout(sizes.relu_dropout),
            Linear(4 * width, width),
            nn.Dropout(sizes.residual_dropout),
        )

    def forward(self, X: Packed) -> Packed:
        """(N, width) -> (N, width)."""
        sizes, share = self.sizes, self.sizes.attention_dropout if self.training else 0.0
        projected = X.like(self.project(self.norm(X.rows)))
        found = self.out(self_attention(projected, sizes.heads, share))
        x = X.rows + functional.dropout(found, sizes.residual_dropout, self.training)
        return X.like(x + self.feed(x))


class PlainTransformer(nn.Module):
    """A Transformer encoder a modality, after the same positions as SPT's."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__()
        self.sizes = sizes
        self.modalities = tuple(widths)
        self.frames = nn.ModuleDict({m: Linear(size, sizes.width) for m, size in widths.items()})
        self.layers = nn.ModuleDict(
            {m: nn.ModuleList(FullAttention(sizes) for _ in range(sizes.rounds)) for m in widths}
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, frames: Mapping[Modality, Packed]) -> Tensor:
        """(N_m, its width) a modality -> (modalities, batch, width)."""
        return torch.stack([self._one(m, frames[m]) for m in self.modalities])

    def _one(self, modality: Modality, X: Packed) -> Tensor:
        width = self.sizes.width
        x = self.frames[modality](X.rows) * math.sqrt(width)
        x = x + sinusoids((X.position + 1).to(x), width)
        X = X.like(functional.dropout(x, self.sizes.embed_dropout, self.training))
        layers = self.layers[modality]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            X = layer(X)
        vector: Tensor = self.norm(X.last())
        return vector * X.there.unsqueeze(1)


class PlainLSTM(nn.Module):
    """A one-way LSTM of one layer a modality."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__()
        self.modalities = tuple(widths)
        self.layers = nn.ModuleDict({m: LSTM(size, sizes.width) for m, size in widths.items()})

    def forward(self, frames: Mapping[Modality, Packed]) -> Tensor:
        """(N_m, its width) a modality -> (modalities, batch, width)."""
        return torch.stack([self.layers[m](frames[m]).last() for m in self.modalities])
