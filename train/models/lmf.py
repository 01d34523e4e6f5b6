"""Low-rank Multimodal Fusion: Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency, "Efficient
Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, arXiv:1806.00064.

A linear layer over TFN's outer product, whose weight tensor is never made:
it is a sum of R products of one factor a modality. Symbols, with B clips, w_m the width of modality
m's vector and d the width of the fused one:

    z_m    (B, w_m)          vector of a modality, exactly 0 if it is not there
    W_m    (R, w_m + 1, d)   factors of a modality
    h      (B, d)            Σ_r c_r Π_m [z_m; 1] W_m[r] + b, the products entry by entry
    ŷ      (B,)              linear in h

Departures, and choices where the paper is silent:

- The subnets are those of `tfn`.
- Ranks have weights c_r, one at first: then the sum is the paper's.
- First factors are Glorot's, rank by rank; biases are zero.
- Dropout behind every layer of the subnets and before the head, widths and recipe are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.dropout import Dropout
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, embedding_subnets, embedding_widths
from .shared.interface import Batch, InputShape, Output
from .tfn import with_one


@dataclass(frozen=True)
class Options:
    """[train.lmf]"""

    text_width: Positive = 128
    """Units of the LSTM over text, and length of its vector."""
    audio_width: Positive = 32
    """Units of each layer of the net of audio, and length of its vector."""
    vision_width: Positive = 32
    """The same of vision."""
    depth: Positive = 3
    """Layers of the nets of audio and vision."""
    rank: Positive = 4
    """Products R that the weight tensor is the sum of."""
    fused: Positive = 64
    """Width d of the fused vector."""
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer of the subnets, and before the head."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = baseline_parts.RECIPE


class LowRankFusion(nn.Module):
    """A linear layer over the outer product of all [z_m; 1], by factors of its weights."""

    def __init__(self, widths: Sequence[int], out: int, rank: int) -> None:
        """For vectors of these `widths`; `out` numbers come out."""
        super().__init__()
        self.factors = nn.ParameterList(torch.empty(rank, width + 1, out) for width in widths)
        for factor in self.factors:
            for one in factor:
                nn.init.xavier_normal_(one)
        self.rank_weights = nn.Parameter(torch.ones(rank))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """(batch, w_m) of each modality -> (batch, out)."""
        parts = [with_one(z) @ factor for z, factor in zip(vectors, self.factors, strict=True)]
        product = reduce(torch.mul, parts)  # (rank, batch, out)
        return torch.einsum("r,rbd->bd", self.rank_weights, product) + self.bias


class LMF(Baseline):
    """Low-rank fusion of the modalities' vectors."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.subnets = embedding_subnets(inputs, options)
        widths = list(embedding_widths(self.modalities, options).values())
        self.fusion = LowRankFusion(widths, options.fused, options.rank)
        self.dropout = Dropout(options.dropout)
        self.head = nn.Linear(options.fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        return self.answer(self.dropout(self.fusion(list(own.values()))), own)
