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
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, embedding_subnets, embedding_widths, reference_recipe
from .shared.hooks import Group, Recipe
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
    text_hidden: Count = 0
    """Units of the LSTM over text, where a linear layer makes its vector; 0: `text_width`."""
    input_norm: bool = False
    """As the reference toolkit: the means of audio and vision go through a batch normalisation,
    dropout acts there and not within the nets, and the layer on text's last state is linear."""
    scored: bool = False
    """As the reference toolkit: the fusion gives the score itself, without a head, and its bias and
    the weights of its ranks stay as they begin."""
    factor_rate: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the factors, times the run's."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


_REFERENCE = Options(64, 16, 128, 3, 3, 64, 0.3, 128, True, scored=True)
PRESETS: Mapping[str, Options] = {
    "mmsa-mosi": _REFERENCE,
    "mmsa-mosei": replace(_REFERENCE, rank=4, dropout=0.2),
    "mmsa-sims": replace(
        _REFERENCE,
        text_width=32,
        text_hidden=64,
        vision_width=64,
        rank=4,
        dropout=0.2,
        factor_rate=0.25,
    ),
}
"""What the reference toolkit builds, by corpus."""
RECIPE = baseline_parts.RECIPE
RECIPES: Mapping[str, Recipe] = {
    "mmsa-mosi": reference_recipe(1e-3, 64, 0.005),
    "mmsa-mosei": reference_recipe(1e-3, 32, 0.001),
    "mmsa-sims": reference_recipe(2e-3, 64, 0.005),
}


class LowRankFusion(nn.Module):
    """A linear layer over the outer product of all [z_m; 1], by factors of its weights."""

    def __init__(self, widths: Sequence[int], out: int, rank: int, drawn: bool = False) -> None:
        """For vectors of these `widths`; `out` numbers come out.

        `drawn`: as the reference toolkit, ranks' weights are drawn, and factors as a whole.
        """
        super().__init__()
        self.factors = nn.ParameterList(torch.empty(rank, width + 1, out) for width in widths)
        for factor in self.factors:
            for one in (factor,) if drawn else factor:
                nn.init.xavier_normal_(one)
        self.rank_weights = nn.Parameter(torch.ones(rank))
        if drawn:
            nn.init.xavier_normal_(self.rank_weights.unsqueeze(0))
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
        self.options = options
        self.subnets = embedding_subnets(inputs, options)
        widths = list(embedding_widths(self.modalities, options).values())
        out = options.classes if options.scored else options.fused
        self.fusion = LowRankFusion(widths, out, options.rank, options.scored)
        self.dropout = Dropout(0.0 if options.scored else options.dropout)
        self.head = nn.Identity() if options.scored else nn.Linear(options.fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        return self.answer(self.dropout(self.fusion(list(own.values()))), own)

    def groups(self) -> Sequence[Group]:
        """Factors, what a reference leaves as it began, and all else."""
        fusion, options = self.fusion, self.options
        factors = Group(tuple(fusion.factors), options.factor_rate)
        rates = (fusion.rank_weights, fusion.bias)
        still = Group(rates, 0.0) if options.scored else Group(rates)
        known = {id(weight) for weight in fusion.parameters()}
        rest = tuple(p for p in self.parameters() if id(p) not in known)
        return Group(rest), factors, still
