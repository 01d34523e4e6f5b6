"""ALMT: Zhang, Wang, Yin, Liu, Liu and Yu, "Learning Language-guided Adaptive Hyper-modality
Representation for Multimodal Sentiment Analysis", EMNLP 2023, arXiv:2310.05804.

Written from memory of the paper, without any code of it. Symbols, with B clips, T_m frames of
modality m, n tokens of width d, J levels:

    X_m    (B, T_m, width)  cached features
    H_m    (B, n, d)        first n places of a transformer over [learned tokens; X_m]
    H_l^j  (B, n, d)        text: H_l^1 = H_l; H_l^j by a transformer layer of H_l^(j-1)
    H_h^j  (B, n, d)        hyper-modality, from a learned H_h^0:
                            H_h^j = H_h^(j-1) + softmax(Q K_a' / sqrt(k)) V_a
                                              + softmax(Q K_v' / sqrt(k)) V_v
                            Q of H_l^j, K_m and V_m of H_m, k the width of a head
    H      (B, d)           mean over the n places of a crossmodal transformer, H_l^J reading H_h^J
    ŷ      (B,)             linear in H

Departures, and choices where the paper is silent:

- The paper's head reads a token that is put in front of both; as every place reads for itself, that
  one would see nothing of text but by way of H_h. Here the head reads the mean of all.
- Positions are sinusoids; transformers are pre-norm. Keys have no bias, which would cancel.
- The guide is the first modality of the run, so that there is a guide without text. Where a clip
  lacks a modality, its H_m is zero: it adds nothing to the hyper-modality.
- Frames go through a linear layer to d first; the paper's widths are told per corpus.
- Dropout and recipe are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.packed import Packed
from ..layers.transformer import CrossmodalEncoder, SequenceEncoder, with_positions, xavier_init
from .shared.baseline import Baseline
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.almt]; eight tokens and three levels are the paper's, the rest is ours."""

    width: Positive = 64
    """Width d of a token; a multiple of `heads`."""
    tokens: Positive = 8
    """Tokens n that stand for a modality."""
    heads: Positive = 8
    """Attention heads of everything."""
    levels: Positive = 3
    """Levels J of the hyper-modality."""
    fusion_layers: Positive = 2
    """Layers of the crossmodal transformer."""
    attention_dropout: Fraction = 0.1
    """Share dropped in the transformers."""
    dropout: Fraction = 0.1
    """Share dropped of what the head reads."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        """Raises ValueError where width and heads do not go together."""
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads = {self.heads}.")


RECIPE = Recipe(
    learning_rate=5e-4,
    batch_size=32,
    epochs=60,
    patience=10,
    weight_decay=1e-4,
    warmup=0.1,
    schedule="cosine",
    clip_norm=1.0,
    loss="l2",
    optimizer="adamw",
    source="ours; the paper's kind: AdamW, warm-up and a cosine",
)


def encoder(options: Options, layers: int) -> SequenceEncoder:
    """A transformer over tokens."""
    share = options.attention_dropout
    return SequenceEncoder(options.width, options.heads, layers, share, share, 0.0)


class ModalityTokens(nn.Module):
    """H_m: learned tokens that have read the frames of some modalities."""

    def __init__(self, widths: Mapping[Modality, int], options: Options) -> None:
        """For frames of these `widths`."""
        super().__init__()
        self.count, self.modalities = options.tokens, tuple(widths)
        self.frames = nn.ModuleDict({m: Linear(w, options.width) for m, w in widths.items()})
        self.tokens = nn.Parameter(0.1 * torch.randn(options.tokens, options.width))
        self.encoder = encoder(options, 1)

    def forward(self, X: Mapping[Modality, Packed]) -> Tensor:
        """Frames of each modality -> (B, n, d), zero for a clip without any."""
        parts = [X[m].map(self.frames[m]) for m in self.modalities]
        asking = Packed.stack(self.tokens.expand(len(parts[0].lengths), -1, -1))
        read: Packed = self.encoder(Packed.concatenate([asking, *parts]))
        H = read.kept(read.step < self.count).rows.view(-1, self.count, read.rows.shape[1])
        there = torch.stack([x.there for x in parts]).any(dim=0)
        return H * there.view(-1, 1, 1)


class HyperModality(nn.Module):
    """One level: what a guide picks out of other modalities is added to the hyper-modality."""

    def __init__(self, others: tuple[Modality, ...], width: int, heads: int) -> None:
        """Tokens of `width`."""
        super().__init__()
        self.heads, self.others = heads, others
        self.query = nn.Linear(width, width)
        self.keys = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in others})
        self.values = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in others})

    def forward(self, hyper: Tensor, guide: Tensor, H: Mapping[Modality, Tensor]) -> Tensor:
        """(B, n, d) each -> (B, n, d)."""
        Q = self._split(self.query(guide))
        for m in self.others:
            K, V = self._split(self.keys[m](H[m])), self._split(self.values[m](H[m]))
            seen = functional.scaled_dot_product_attention(Q, K, V)
            hyper = hyper + seen.transpose(1, 2).flatten(2)
        return hyper

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, n, d) -> (B, heads, n, d / heads)."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class GuidedFusion(nn.Module):
    """From a guide's tokens and those of other modalities to the vector that the head reads."""

    def __init__(self, others: tuple[Modality, ...], options: Options) -> None:
        """The guide is none of `others`."""
        super().__init__()
        d, heads, share = options.width, options.heads, options.attention_dropout
        self.hyper = nn.Parameter(0.1 * torch.randn(options.tokens, d))
        levels = options.levels if others else 1
        self.deeper = nn.ModuleList(encoder(options, 1) for _ in range(levels - 1))
        self.levels = nn.ModuleList(
            HyperModality(others, d, heads) for _ in range(levels if others else 0)
        )
        self.fusion = xavier_init(CrossmodalEncoder(d, heads, options.fusion_layers, share, share))

    def forward(self, guide: Tensor, H: Mapping[Modality, Tensor]) -> Tensor:
        """(B, n, d) each -> (B, d)."""
        hyper = self.hyper.expand_as(guide)
        for j, level in enumerate(self.levels):
            if j:
                deeper: Packed = self.deeper[j - 1](Packed.stack(guide))
                guide = deeper.padded()
            hyper = level(hyper, guide, H)
        places = [with_positions(Packed.stack(tokens)) for tokens in (guide, hyper)]
        fused: Packed = self.fusion(*places)
        return fused.mean()


class ALMT(Baseline):
    """Text guides what is taken of voice and face, level by level."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`; the first of them is the guide."""
        super().__init__(inputs)
        self.guide, *others = self.modalities
        self.tokens = nn.ModuleDict(
            {m: ModalityTokens({m: inputs[m].width}, options) for m in self.modalities}
        )
        self.fusion = GuidedFusion(tuple(others), options)
        self.dropout = Dropout(options.dropout)
        self.head = nn.Linear(options.width, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        H = dict[Modality, Tensor]()
        for m in self.modalities:
            H[m] = self.tokens[m]({m: Packed.of(self.frames(batch, m), batch.masks[m])})
        fused = self.fusion(H[self.guide], H)
        return self.answer(self.dropout(fused), {m: x.mean(dim=1) for m, x in H.items()})
