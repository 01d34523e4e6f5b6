"""What SUGRM's Table 4 puts in the place of the sparse phased transformer: a Transformer, an LSTM.

The paper names the two, the first after Tsai et al. (MulT, arXiv:1906.00295), and gives no sizes.
Here they have the width, depth and heads of the transformer that they replace:

- TE: every modality's frames read those of every other one, `rounds` layers each; side by side,
  they then read each other within the clip for as many layers, and the last real frame becomes the
  vector. Of one modality alone there is nothing to read, and it is a Transformer encoder.
- LSTM: one a modality, one-way, of one layer; its last state is the vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....cache.spec import Modality
from ...layers.linear import Linear
from ...layers.lstm import LSTM
from ...layers.packed import Packed
from ...layers.transformer import CrossmodalEncoder, SequenceEncoder, with_positions, xavier_init
from .sparse_phased_transformer import Sizes


class MultimodalTransformer(nn.Module):
    """Every modality reads every other one, then itself."""

    def __init__(self, widths: Mapping[Modality, int], sizes: Sizes) -> None:
        """For frames of these widths."""
        super().__init__()
        w, heads, depth = sizes.width, sizes.heads, sizes.rounds
        drops = sizes.attention_dropout, sizes.residual_dropout
        self.modalities = tuple(widths)
        self.dropout = nn.Dropout(sizes.embed_dropout)
        self.frames = nn.ModuleDict({m: Linear(size, w) for m, size in widths.items()})
        self.readers = nn.ModuleDict(
            {
                f"{m}_reads_{n}": xavier_init(CrossmodalEncoder(w, heads, depth, *drops))
                for m in widths
                for n in widths
                if n != m
            }
        )
        own = w * max(1, len(widths) - 1)
        self.memories = nn.ModuleDict(
            {m: SequenceEncoder(own, heads, depth, *drops, sizes.embed_dropout) for m in widths}
        )
        self.vectors = nn.ModuleDict({m: nn.Linear(own, w) for m in widths})

    def forward(self, frames: Mapping[Modality, Packed]) -> Tensor:
        """(N_m, its width) a modality -> (modalities, batch, width)."""
        start = {m: frames[m].map(self.frames[m]) for m in self.modalities}
        X = {m: with_positions(x).map(self.dropout) for m, x in start.items()}
        vectors = list[Tensor]()
        for m, x in X.items():
            read = [self.readers[f"{m}_reads_{n}"](x, y).rows for n, y in X.items() if n != m]
            side_by_side = x.like(torch.cat(read, dim=1)) if read else start[m]
            vector = self.vectors[m](self.memories[m](side_by_side).last())
            vectors.append(vector * x.there.unsqueeze(1))
        return torch.stack(vectors)


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
