"""Unimodal Encoders and Gated Decoder: Ando et al., "On the Use of Modality-Specific Large-Scale
Pre-Trained Encoders for Multimodal Sentiment Analysis", SLT 2022, arXiv:2210.15937.

Written from the paper alone. Symbols, with B clips, T_m frames of modality m, H hidden units,
r heads, F embedding width:

    X_m  (B, T_m, width)   cached features of one layer, or of several mixed by learned weights
    h_m  (B, T_m, H)       frames after FC + LayerNorm + ReLU + dropout
    z_m  (B, F)            utterance embedding (Eq. 2), exactly 0 for a modality that is not there
    a_m  (B,)              gate weight (Eq. 4), each in 0..1, not normalised over modalities
    z̄    (B, F)            gated sum (Eq. 5)
    ŷ    (B,)              sentiment (Eq. 3), in the labels' unit, not clipped

Departures, and choices where the paper is silent:

- Self-attentive pooling is Lin et al. 2017 (arXiv:1703.03130), A = softmax(W2 tanh(W1 h + b)),
  with an inner width of H and a bias in W1 only (one in W2 would cancel in the softmax): the one
  choice that gives the paper's sizes, 1,400,836 trainable weights for CMU-MOSEI and, with every
  width halved, 548,868 for CMU-MOSI. Its penalty on overlapping heads is left out.
- The paper reads layers as they are; [train] standardises them if ``input_scaling`` does not say
  "none", as the pipelines of CMU-MOSI and CMU-MOSEI do.
- Encoders are frozen in the paper. Live ones learn at `hooks.EncoderRecipe`'s rate, which is ours.
- No norm and no activation between an encoder's last FC and the gate.
- The decoder's FC layers are FC(F→F) + LayerNorm + ReLU + dropout, then FC(F→1).
- Layer weights start equal; the embedding layer (0) is not among them.
- A clip without a single real frame of a modality is treated as the paper treats an unused
  modality: z_m = 0. Padding and frames without a face take no part in the pooling.
- The paper sees the gate weights of unused modalities approach zero. By Eq. 5 no gradient reaches
  them where z_m = 0, so they stay where they began; as they multiply zero, they are not reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ...config import Fraction, Positive
from ..layers.dropout import Dropout
from ..layers.layer_mix import LayerMix
from ..layers.linear import Linear
from ..layers.packed import Packed
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import layer_weights


@dataclass(frozen=True)
class Options:
    """[train.uegd]; the defaults are the paper's for CMU-MOSEI, CMU-MOSI has half the widths."""

    hidden: Positive = 256
    """Units H of the frame-wise layer; also the inner width of the pooling."""
    embedding: Positive = 128
    """Width F of an utterance embedding and of the decoder."""
    heads: Positive = 4
    """Attention heads r of the pooling, concatenated."""
    dropout: Fraction = 0.2
    """Share of units dropped, after the frame-wise layer and in the decoder."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


PRESETS: Mapping[str, Options] = {
    "mosi": Options(hidden=128, embedding=64),
    "mosei": Options(),
}
RECIPE = Recipe(
    learning_rate=1e-4,
    batch_size=16,
    epochs=50,
    warmup=0.1,
    schedule="cosine",
    mask_time=0.2,
    mask_width=0.2,
    source="UEGD, sections 4.1 and 4.2; the shares of masking and warm-up are ours",
)


class AttentivePooling(nn.Module):
    """Self-attentive pooling over the frames of each clip, heads concatenated."""

    def __init__(self, width: int, heads: int) -> None:
        """For frames of length `width`; `heads` attentions over time."""
        super().__init__()
        self.inner = Linear(width, width)
        self.scores = nn.Linear(width, heads, bias=False)

    def forward(self, h: Packed) -> Tensor:
        """(N, width) -> (B, heads * width).

        A clip without frames gets some finite value that the caller must discard.
        """
        scores = self.scores(torch.tanh(self.inner(h.rows)))
        return h.attended(scores).flatten(start_dim=1)


class UnimodalEncoder(nn.Module):
    """Frames of one modality -> utterance embedding z_m (Eq. 2)."""

    def __init__(self, shape: InputShape, options: Options) -> None:
        """For one input of this shape."""
        super().__init__()
        hidden = options.hidden
        self.mix = None if shape.layers is None else LayerMix(shape.layers)
        self.frames = nn.Sequential(
            Linear(shape.width, hidden), nn.LayerNorm(hidden), nn.ReLU(), Dropout(options.dropout)
        )
        self.pooling = AttentivePooling(hidden, options.heads)
        self.embed = nn.Linear(options.heads * hidden, options.embedding)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """([B, layers, T, width] or without layers), (B, T) -> (B, F)."""
        X = Packed.of(features if self.mix is None else self.mix(features), mask)
        h = X.map(self.frames)
        z: Tensor = self.embed(self.pooling(h)) * X.there.unsqueeze(1)
        return z


class UEGD(nn.Module):
    """Gated sum of utterance embeddings, decoded to one score a clip."""

    stackable = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`; the others are zero embeddings."""
        super().__init__()
        width = options.embedding
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.encoders = nn.ModuleDict(
            {m: UnimodalEncoder(inputs[m], options) for m in self.modalities}
        )
        # one row a modality, used or not: the structure of the decoder does not change (3.1)
        self.gate = nn.Linear(len(MODALITIES) * width, len(MODALITIES))
        self.decoder = nn.Sequential(
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            Dropout(options.dropout),
            nn.Linear(width, options.classes),
        )

    def forward(self, batch: Batch) -> Output:
        """Scores, and ``gate`` (batch, modalities in use) among the extras."""
        z = {m: self.encoders[m](batch.features[m], batch.masks[m]) for m in self.modalities}
        absent = torch.zeros_like(next(iter(z.values())))
        Z = torch.stack([z.get(m, absent) for m in MODALITIES], dim=1)  # (B, 3, F)
        a = torch.sigmoid(self.gate(Z.flatten(start_dim=1)))  # Eq. 4
        fused = (a.unsqueeze(-1) * Z).sum(dim=1)  # Eq. 5
        used = [MODALITIES.index(m) for m in self.modalities]
        return Output(
            prediction=shaped(self.decoder(fused)),  # Eq. 3
            extras={"gate": a[:, used].detach()},
            representations={"fused": fused.detach(), **{m: x.detach() for m, x in z.items()}},
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return layer_weights(self.encoders)
