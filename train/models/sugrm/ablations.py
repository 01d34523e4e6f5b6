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
from ...layers.linear import FrameLinear, on_real_frames
from .sparse_phased_transformer import Sizes, sinusoids


def last_frame(frames: Tensor, mask: Tensor) -> Tensor:
    """(batch, frames, width) -> (batch, width): each clip's last real frame, zero if none."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, steps, 0).amax(dim=1).view(-1, 1, 1).expand(-1, 1, frames.shape[-1])
    return frames.gather(1, last).squeeze(1) * mask.any(dim=1, keepdim=True)


class FullAttention(nn.Module):
    """A pre-norm Transformer layer: every real frame sees every other of its clip."""

    def __init__(self, sizes: Sizes) -> None:
        """One layer's weights."""
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        self.norm = nn.LayerNorm(width)
        self.project = FrameLinear(width, 3 * width)
        self.out = FrameLinear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width),
            FrameLinear(width, 4 * width),
            nn.ReLU(),
            nn.Dropout(sizes.relu_dropout),
            FrameLinear(4 * width, width),
            nn.Dropout(sizes.residual_dropout),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, width), (batch, frames) -> (batch, frames, width)."""
        sizes = self.sizes
        packed = on_real_frames(lambda rows: self.project(self.norm(rows)), x, mask)
        q, k, v = packed.view(*mask.shape, 3, sizes.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        # a clip without frames looks at its padding: no number, and nobody asks for it
        seen = mask | ~mask.any(dim=1, keepdim=True)
        found = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=seen[:, None, None],
            dropout_p=sizes.attention_dropout if self.training else 0.0,
        )
        found = on_real_frames(self.out, found.transpose(1, 2).flatten(2), mask)
        x = x + functional.dropout(found, sizes.residual_dropout, self.training)
        return x + on_real_frames(self.feed, x, mask)


class PlainTransformer(nn.Module):
    """A Transformer encoder a modality, after the same positions as SPT's."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__()
        self.sizes = sizes
        self.modalities = tuple(widths)
        self.frames = nn.ModuleDict(
            {m: FrameLinear(size, sizes.width) for m, size in widths.items()}
        )
        self.layers = nn.ModuleDict(
            {m: nn.ModuleList(FullAttention(sizes) for _ in range(sizes.rounds)) for m in widths}
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(
        self, features: Mapping[Modality, Tensor], masks: Mapping[Modality, Tensor]
    ) -> Tensor:
        """(batch, frames, its width) a modality -> (modalities, batch, width)."""
        return torch.stack([self._one(m, features[m], masks[m]) for m in self.modalities])

    def _one(self, modality: Modality, features: Tensor, mask: Tensor) -> Tensor:
        width = self.sizes.width
        x = on_real_frames(self.frames[modality], features, mask) * math.sqrt(width)
        x = (x + sinusoids(mask.shape[1], width, x)) * mask.unsqueeze(-1)
        x = functional.dropout(x, self.sizes.embed_dropout, self.training)
        layers = self.layers[modality]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x, mask)
        vector: Tensor = self.norm(last_frame(x, mask))
        return vector * mask.any(dim=1, keepdim=True)


class PlainLSTM(nn.Module):
    """A one-way LSTM of one layer a modality."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__()
        self.modalities = tuple(widths)
        self.layers = nn.ModuleDict(
            {m: nn.LSTM(size, sizes.width, batch_first=True) for m, size in widths.items()}
        )

    def forward(
        self, features: Mapping[Modality, Tensor], masks: Mapping[Modality, Tensor]
    ) -> Tensor:
        """(batch, frames, its width) a modality -> (modalities, batch, width)."""
        vectors = []
        for m in self.modalities:
            x, mask = features[m], masks[m]
            # real frames first, so that nothing unreal is read before the last of them
            order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
            x = x.gather(1, order.unsqueeze(-1).expand_as(x))
            real = mask.gather(1, order)
            states, _ = self.layers[m](x.masked_fill(~real.unsqueeze(-1), 0))
            vectors.append(last_frame(states, real))
        return torch.stack(vectors)
