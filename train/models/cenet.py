"""CENet: Wang, Liu, Wang, Tian, He and Gao, "Cross-Modal Enhancement Network for Multimodal
Sentiment Analysis", IEEE Transactions on Multimedia 25, 2023.

Written from memory of the paper, without any code of it. Works inside a live text encoder, behind
one of its blocks (`hooks.WithinText`); there is no such model on cached text. Symbols, with B
clips, T tokens, T_m frames of voice or face, d the encoder's width, K codes:

    Z    (B, T, d)    what leaves the block
    X_m  (B, T_m, w)  frames of voice or face
    S_m  (B, T_m, d)  rows of a table of K codes, by softmax(C_m X_m + b_m): a frame as a code
    H_m  (B, T, d)    softmax(Q K' / sqrt(d)) V: Q = W_q Z, K = W_k S_m, V = W_v S_m
    Z̄    (B, T, d)    Z + W [H_a; H_v] + b, which enters the next block
    ŷ    (B,)         by [CLS] of the layer in use (`shared.inside_text`)

Departures, and choices where the paper is silent:

- The paper makes code numbers of frames by k-means, before training, and looks them up in a table.
  Here a frame is a mixture of codes, by weights that are learned with all else.
- Every modality has projections W_k, W_v and W_q of its own; keys have no bias, which would cancel.
- W and b are zero at first: training begins at the encoder as it is.
- The enhancement stands behind block 1 unless told otherwise, and once. A modality that is absent
  from a clip adds nothing. Without voice and face the encoder is fine-tuned alone.
- The rates are ours: what is usual for BERT, and more for the weights that begin untrained.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.attention import cross_attention
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.packed import Packed
from . import mag_bert
from .shared.inside_text import InsideText, Shown
from .shared.interface import InputShape


@dataclass(frozen=True)
class Options:
    """[train.cenet]; all of them ours."""

    block: Positive = 1
    """Encoder block behind which words are enhanced."""
    codes: Positive = 64
    """Codes K of each modality."""
    enhancement_dropout: Fraction = 0.1
    """Share dropped of what is added to words."""
    dropout: Fraction = 0.1
    """Share dropped of what the head reads."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = mag_bert.RECIPE
ENCODER = mag_bert.ENCODER


class Enhancement(nn.Module):
    """What voice and face add to words."""

    def __init__(
        self, width: int, others: Mapping[Modality, int], codes: int, share: float
    ) -> None:
        """For words of `width` and frames of `others`, by modality."""
        super().__init__()
        self.choices = nn.ModuleDict({m: Linear(n, codes) for m, n in others.items()})
        self.tables = nn.ModuleDict({m: Linear(codes, width, bias=False) for m in others})
        self.queries = nn.ModuleDict({m: Linear(width, width) for m in others})
        self.keys = nn.ModuleDict({m: Linear(width, width, bias=False) for m in others})
        self.values = nn.ModuleDict({m: Linear(width, width, bias=False) for m in others})
        self.out = Linear(len(others) * width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.dropout = Dropout(share)

    def forward(self, words: Packed, frames: Mapping[Modality, Packed]) -> Packed:
        """(N, d), (N_m, width of m) by modality -> (N, d)."""
        H = list[Tensor]()
        for m, X in frames.items():
            weights = torch.softmax(self.choices[m](X.rows), dim=1)
            S = X.like(self.tables[m](weights))
            key_value = torch.cat([self.keys[m](S.rows), self.values[m](S.rows)], dim=1)
            H.append(cross_attention(words.map(self.queries[m]), S.like(key_value), 1, 0.0))
        return words.like(words.rows + self.dropout(self.out(torch.cat(H, dim=1))))


class CENet(InsideText):
    """A text encoder whose words take in codes of voice and face while it reads them."""

    gate: Enhancement | None

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For text, by a live encoder, and what else is among `inputs`.

        Raises ValueError without text.
        """
        self.codes, self.share = options.codes, options.enhancement_dropout
        super().__init__("cenet", options, inputs)

    def mover(self, width: int, others: Mapping[Modality, int]) -> Enhancement:
        """The enhancement."""
        return Enhancement(width, others, self.codes, self.share)

    def moved(self, hidden: Tensor, tokens: Tensor, shown: Shown, words: Tensor | None) -> Tensor:
        """Z (clips, tokens, d) -> Z̄."""
        assert self.gate is not None
        frames = {m: Packed.of(x, real) for m, (x, real) in shown.items()}
        enhanced: Packed = self.gate(Packed.of(hidden, tokens), frames)
        return enhanced.unpacked()
