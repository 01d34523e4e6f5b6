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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ...config import Fraction, Positive
from ..layers.attention import Company
from ..layers.dropout import Dropout
from ..layers.length_buckets import like_length
from ..layers.linear import FrameLinear, LayerMix, computes_everywhere, on_real_frames
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output
from .shared.layer_mix import layer_weights

CALL = 512
"""Frames that take as long to pool as a further group of clips (see `grouping`)."""


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
    """Self-attentive pooling over the real frames of each clip, heads concatenated."""

    def __init__(self, width: int, heads: int) -> None:
        """For frames of length `width`; `heads` attentions over time."""
        super().__init__()
        self.inner = FrameLinear(width, width)
        self.scores = nn.Linear(width, heads, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, width), (batch, frames) -> (batch, heads * width).

        A clip without real frames gets some finite value that the caller must discard.
        """
        scores = on_real_frames(self._scores, frames, mask)
        # the lowest finite number, not -inf: a row of -inf would come out of the softmax as NaN
        scores = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(scores.dtype).min)
        attention = torch.softmax(scores, dim=1)  # (batch, frames, heads)
        return (attention.transpose(1, 2) @ frames).flatten(start_dim=1)

    def pool_rows(self, rows: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        """The same of frames without padding: rows (n, width), clip after clip, of these `lengths`.

        (n, width) -> (batch, heads * width), zero for a clip without frames.
        """
        scores = self._scores(rows)
        first, there = np.cumsum(lengths) - lengths, np.flatnonzero(lengths)
        pooled, clips = list[Tensor](), list[Tensor]()
        for group in like_length(lengths[there], rows.device, call=CALL):
            own = there[group]
            company = Company.made(first[own], lengths[own], rows.device)
            lowest = torch.finfo(scores.dtype).min
            known = company.padded(scores).masked_fill(~company.mask.unsqueeze(-1), lowest)
            attention = torch.softmax(known, dim=1)
            pooled.append((attention.transpose(1, 2) @ company.padded(rows)).flatten(start_dim=1))
            clips.append(torch.from_numpy(own))
        size = scores.shape[1] * rows.shape[1]
        together = torch.cat([rows.new_empty(0, size), *pooled])
        place = torch.cat([torch.empty(0, dtype=torch.int64), *clips])
        return rows.new_zeros(len(lengths), size).index_copy(0, place, together)

    def _scores(self, frames: Tensor) -> Tensor:
        """(n, width) -> (n, heads)."""
        scores: Tensor = self.scores(torch.tanh(self.inner(frames)))
        return scores


class UnimodalEncoder(nn.Module):
    """Frames of one modality -> utterance embedding z_m (Eq. 2)."""

    def __init__(self, shape: InputShape, options: Options) -> None:
        """For one input of this shape."""
        super().__init__()
        hidden = options.hidden
        self.mix = None if shape.layers is None else LayerMix(shape.layers)
        self.frames = nn.Sequential(
            FrameLinear(shape.width, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            Dropout(options.dropout),
        )
        self.pooling = AttentivePooling(hidden, options.heads)
        self.embed = nn.Linear(options.heads * hidden, options.embedding)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """([batch, layers, frames, width] or without layers), (batch, frames) -> (batch, F)."""
        mixed = features if self.mix is None else self.mix(features)
        if features.device.type == "cpu" and not computes_everywhere():
            real = mask.flatten().nonzero().squeeze(1)
            rows = self.frames(mixed.flatten(0, 1).index_select(0, real))
            pooled = self.pooling.pool_rows(rows, mask.sum(dim=1).numpy())
        else:
            pooled = self.pooling(on_real_frames(self.frames, mixed, mask), mask)
        embedding: Tensor = self.embed(pooled)
        return embedding * mask.any(dim=1, keepdim=True)


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
        found = {m: self.encoders[m](batch.features[m], batch.masks[m]) for m in self.modalities}
        absent = torch.zeros_like(next(iter(found.values())))
        embeddings = torch.stack([found.get(m, absent) for m in MODALITIES], dim=1)
        gate = torch.sigmoid(self.gate(embeddings.flatten(start_dim=1)))  # Eq. 4
        fused = (gate.unsqueeze(-1) * embeddings).sum(dim=1)  # Eq. 5
        used = [MODALITIES.index(m) for m in self.modalities]
        decoded = self.decoder(fused)  # Eq. 3
        return Output(
            prediction=decoded.squeeze(-1) if decoded.shape[-1] == 1 else decoded,
            extras={"gate": gate[:, used].detach()},
            representations={"fused": fused.detach(), **{m: e.detach() for m, e in found.items()}},
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return layer_weights(self.encoders)
