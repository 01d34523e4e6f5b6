"""MISA: Hazarika, Zimmermann and Poria, "MISA: Modality-Invariant and -Specific Representations for
Multimodal Sentiment Analysis", ACM Multimedia 2020, arXiv:2005.03545.

Written from what the paper says and the facts known of its settings. Symbols, with B clips, M
modalities, T_m frames of modality m, d the common width:

    X_m   (B, T_m, width)  cached features of one layer, or of several mixed by learned weights
    u_m   (B, d)           utterance vector of a modality
    h^c_m (B, d)           its shared (invariant) vector, by one encoder for all modalities
    h^p_m (B, d)           its private (specific) vector, by an encoder of its own
    û_m   (B, d)           reconstruction of u_m from h^c_m + h^p_m
    M     (B, 2 M, d)      all of these vectors, which a Transformer layer lets see each other
    ŷ     (B,)             score, from the rows of M side by side

The loss is that of the task + `similarity` * CMD of shared vectors + `difference` * how far shared
and private spaces are from orthogonal + `reconstruction` * mean squared error of û_m: `misa_losses`
has the second and the third.

Departures, and choices where the paper is silent:

- u_m is Linear, ReLU, LayerNorm of the mean of a text's tokens, or of the end states of two stacked
  two-way LSTMs (their units are ours). Encoders of both kinds are Linear and sigmoid, which keeps
  vectors in the interval that CMD needs; decoders are one Linear a modality.
- Of the difference loss the mean over a product's d² entries is taken, not the sum, which would
  weigh it by the width.
- The adversarial alternative to CMD is left out.
- A clip without frames of a modality: its two vectors are zero, no other sees them, and it has no
  part in any of the three losses for that modality. With one modality there is no similarity.
- Clipping is by the norm of all gradients. A live encoder learns at `hooks.EncoderRecipe`'s rate,
  which is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from ..layers.post_norm import PostNormAttention, PostNormFeedForward
from ..layers.whole_batch import alone
from .misa_losses import difference, similarity
from .shared.baseline import reference_recipe
from .shared.hooks import EncoderRecipe, Recipe
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import layer_weights
from .shared.utterance import EndStates, Pick, Tokens

Weight = Annotated[float, Field(ge=0)]
EPSILON = 1e-5
"""Of the fusion's norms."""


@dataclass(frozen=True)
class Options:
    """[train.misa]; the defaults are MMSA's for CMU-MOSI, `PRESETS` has other corpora."""

    width: Positive = 128
    """Common width d, a multiple of `heads`."""
    text: Pick = "mean"
    """The vector of a text: the `mean` of its tokens, or the `first`, [CLS]."""
    recurrent: Count = 64
    """Units of each of a modality's four LSTMs; 0: as many as its frames are wide."""
    heads: Positive = 2
    """Attention heads of the fusion."""
    feedforward: Positive = 512
    """Inner units of the fusion's feed-forward network."""
    dropout: Fraction = 0.2
    """Share dropped in the fusion and in the head."""
    fused: Literal["both", "shared", "private"] = "both"
    """What the fusion reads: both vectors of each modality, or those of one kind (the paper's
    ablation); the other kind is still learned by the three losses."""
    similarity: Weight = 0.3
    """Weight of the similarity loss."""
    difference: Weight = 0.1
    """Weight of the difference loss."""
    reconstruction: Weight = 1.0
    """Weight of the reconstruction loss."""
    moments: Annotated[int, Field(ge=2)] = 5
    """Highest order K of the moments that shared vectors are to agree in."""
    reference: bool = False
    """As the reference toolkit: LSTMs read as many frames as the clip's text has tokens, the fusion
    is PyTorch's own transformer layer with a dropout of 0.1, inside the feed-forward too, and two
    layers are there that nothing reads."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(
                f"heads = {self.heads} do not share width = {self.width} evenly. "
                "Take a width that is a multiple of the heads."
            )


PRESETS: dict[str, Options] = {
    "mosi": Options(),
    "mosei": Options(dropout=0.5, difference=0.3, similarity=0.8),
    "sims": Options(dropout=0.0, difference=0.3, similarity=1.0, reconstruction=0.8),
}
"""By corpus; the width is that of CMU-MOSI everywhere. Under ``mmsa-…`` stands what the reference
toolkit builds."""
PRESETS |= {
    f"mmsa-{corpus}": replace(options, recurrent=0, feedforward=2048, reference=True)
    for corpus, options in PRESETS.items()
}


def _recipe(batch_size: int, clip_norm: float | None, decay: float = 0.0) -> Recipe:
    return Recipe(
        learning_rate=1e-4,
        batch_size=batch_size,
        epochs=100,
        patience=8,
        weight_decay=decay,
        warmup=0.0,
        schedule="constant",
        clip_norm=clip_norm,
        loss="l2",
        source="MMSA's configuration of MISA; rate of CMU-MOSI for all; epochs unlimited there",
    )


RECIPES: Mapping[str, Recipe] = {
    "mosi": _recipe(16, 0.8),
    "mosei": _recipe(64, None, 5e-5),
    "sims": _recipe(64, 1.0),
    "mmsa-mosi": reference_recipe(1e-4, 16, accumulate=2, whole_groups=True, clip_value=0.8),
    "mmsa-mosei": reference_recipe(1e-4, 64, accumulate=2, whole_groups=True, clip_value=0.8),
    "mmsa-sims": reference_recipe(1e-4, 64, accumulate=2, whole_groups=True, clip_value=1.0),
}
RECIPE = RECIPES["mosi"]
ENCODERS: Mapping[str, EncoderRecipe] = {
    f"mmsa-{corpus}": EncoderRecipe(1e-4, 0.0, source="the reference toolkit: one rate for all")
    for corpus in ("mosi", "mosei", "sims")
}
"""Of text, where it is live."""


class MISA(nn.Module):
    """Shared and private vectors of every modality, fused by a Transformer layer."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`, any of them."""
        super().__init__()
        self.options = options
        self.total: Callable[[Tensor], Tensor] = alone
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        d = options.width
        self.encoders, self.utterances = nn.ModuleDict(), nn.ModuleDict()
        for m in self.modalities:
            shape = inputs[m]
            own = (
                Tokens(shape, options.text)
                if m == "text"
                else EndStates(shape, options.recurrent or shape.width)
            )
            self.encoders[m] = own
            self.utterances[m] = nn.Sequential(nn.Linear(own.out, d), nn.ReLU(), nn.LayerNorm(d))
        self.shared = nn.Sequential(nn.Linear(d, d), nn.Sigmoid())
        self.private = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for m in self.modalities}
        )
        self.decoders = nn.ModuleDict({m: nn.Linear(d, d) for m in self.modalities})
        share, inner = (0.1, 0.1) if options.reference else (options.dropout, 0.0)
        self.attention = PostNormAttention(d, options.heads, share, EPSILON)
        self.feedforward = PostNormFeedForward(d, options.feedforward, share, EPSILON, inner)
        if options.reference:
            self.attention.as_pytorch_begins()
            # for its counts and checkpoints alone: a norm of text, and who tells spaces apart
            widest = 2 * inputs[self.modalities[0]].width
            self.unread = nn.ModuleList([nn.LayerNorm(widest), nn.Linear(d, 4)])
        vectors = len(self.modalities) * (2 if options.fused == "both" else 1)
        self.head = nn.Sequential(
            nn.Linear(vectors * d, 3 * d),
            Dropout(options.dropout),
            nn.ReLU(),
            nn.Linear(3 * d, options.classes),
        )

    def forward(self, batch: Batch) -> Output:
        """Scores, and in training the three losses."""
        options, names = self.options, self.modalities
        there = torch.stack([batch.masks[m].any(dim=1) for m in names])  # (M, B)
        real = there.unsqueeze(-1)
        read = self._read(batch)
        found = {m: self.encoders[m](batch.features[m], read[m]) for m in names}
        spoken = torch.stack([self.utterances[m](x) for m, x in found.items()])  # u, (M, B, d)
        shared = self.shared(spoken) * real
        private = torch.stack([self.private[m](u) for m, u in zip(names, spoken, strict=True)])
        private = private * real
        kinds = {"both": (shared, private), "shared": (shared,), "private": (private,)}
        together = self._fused(torch.cat(kinds[options.fused]), there)
        losses = self._losses(spoken, shared, private, there) if self.training else {}
        own = torch.cat([shared, private], dim=-1).detach()
        return Output(
            prediction=shaped(self.head(together)),
            losses=losses,
            representations={
                "fused": together.detach(),
                **dict(zip(names, own, strict=True)),
            },
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return layer_weights(self.encoders)

    def _read(self, batch: Batch) -> Mapping[Modality, Tensor]:
        """The masks of the frames that encoders read: (B, T_m) bool by modality."""
        if not (self.options.reference and "text" in self.modalities):
            return batch.masks
        tokens = batch.masks["text"].sum(dim=1, keepdim=True)
        return {
            m: mask if m == "text" else mask & ((mask.cumsum(dim=1) <= tokens) | (tokens == 0))
            for m, mask in batch.masks.items()
        }

    def _fused(self, vectors: Tensor, there: Tensor) -> Tensor:
        """(V, B, d), V a multiple of M, and (M, B) -> (B, V * d)."""
        mask = there.repeat(len(vectors) // len(there), 1).T
        frames = Packed.of(vectors.transpose(0, 1), mask)
        fused: Packed = self.feedforward(self.attention(frames, frames))
        together = fused.unpacked().flatten(start_dim=1)
        return together

    def _losses(
        self, spoken: Tensor, shared: Tensor, private: Tensor, there: Tensor
    ) -> dict[str, Tensor]:
        """The three of them, weighted; (M, B, d) each, and (M, B)."""
        options, names = self.options, self.modalities
        sums = zip(names, shared + private, strict=True)
        restored = torch.stack([self.decoders[m](both) for m, both in sums])
        missed = (spoken - restored).float().square().mean(dim=-1) * there
        losses = {
            "difference": options.difference * difference(shared, private, there, self.total),
            "reconstruction": options.reconstruction * missed.mean(),
        }
        if len(names) > 1:
            alike = similarity(shared, there, options.moments, self.total)
            losses["similarity"] = options.similarity * alike
        return losses
