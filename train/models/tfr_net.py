"""TFR-Net: Yuan, Li, Xu and Yu, "Transformer-based Feature Reconstruction Network for Robust
Multimodal Sentiment Analysis", ACM MM 2021.

Symbols, with B clips, T_m frames of modality m, N_m of the whole batch, c modalities, width d:

    U_m   (B, T_m, width)  cached features, or text by a live encoder; some frames missing
    H_m   (N_m, d)         after a convolution over time, with positions
    H'_m  (N_m, c * d)     Transformer_{m→m}(H_m) and, of every other n, Transformer_{n→m}(H_m, H_n)
    Û_m   (N_m, width)     frames as they would be, from H'_m
    u_m   (B, d)           what the gate lets through of H'_m, its maxima over time
    ŷ     (B,)             sentiment, in the labels' unit, not clipped; (B, classes) logits

Loss: the task's own, and by modality λ_m times the smooth L1 distance of Û_m and U_m over frames
that are missing and real.

Two settings, as in `emt_dlfr`, which took over this paper's: *complete* (the default), where there
is nothing to reconstruct and no part to do it, and *incomplete* (``missing_rate`` > 0), where
frames are hidden in training and in scoring alike by masks that never change (`emt_missing`). On
cached text the *hidden states* of masked tokens are zeroed, which is not the papers' [UNK] tokens;
a live encoder reads [UNK]. `outputs` says so of every run at a rate above 0.

Departures, and choices that are ours. Written without the paper at hand, from what is known of its
three modules (EMT-DLFR, sections 2 and 4, tells them); no equation is numbered here. What is left
open is filled in so:

- The transformers are MulT's, normed before each part, each pair of modalities with weights of its
  own, the source as it was in every layer. Positions are sinusoids, added to √d times the frames;
  all streams of a modality share the dropout of that sum.
- The convolution has kernel 3 and no bias in every modality.
- Reconstruction: one transformer layer of self-attention over a clip's H'_m, and one linear map.
  Its error is a mean over missing values, modality by modality; λ_m are 1.
- The gate: a GRU both ways, of d units each, a convolution of kernel 3, and the maxima over time of
  the gated and the plain frames joined. The head is two linear layers with ReLU between.
- [CLS] and [SEP] are frames of text like others, but are never missing.
- Padding, missing faces and other frames that are not real take part in nothing: a gap closes, the
  frames around it become neighbours. A clip without frames of a modality has the zero vector for
  u_m, and the others' frames find nothing there.
- Classes are trained by cross-entropy, as the paper does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ...config import Fraction, Positive
from ..layers.convolution import TemporalConvolution
from ..layers.dropout import Dropout
from ..layers.packed import Packed
from ..layers.transformer import CrossmodalEncoder, with_positions
from ..layers.whole_batch import alone
from .shared.hooks import EncoderRecipe, Recipe
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import LayerMixes
from .shared.missing_frames import (
    MASK_SEED,
    Special,
    incomplete_view,
    restored_error,
    told_of_missing,
)
from .tfr_parts import ConvolutionalGate, Reconstruction

NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.tfr_net]; width, heads and levels are MMSA's for CMU-MOSI, the rest is ours."""

    width: Positive = 30
    """Common width d; a multiple of `heads`."""
    heads: Positive = 6
    """Attention heads of every transformer."""
    levels: Positive = 3
    """Layers of every transformer between and within modalities."""
    restoring_layers: Positive = 1
    """Layers of the self-attention before frames are reconstructed."""
    attention_dropout: Fraction = 0.1
    """Share dropped of attention weights."""
    embedding_dropout: Fraction = 0.1
    """Share dropped of the transformers' input."""
    dropout: Fraction = 0.1
    """Share dropped everywhere else."""
    missing_rate: Fraction = 0.0
    """Probability with which a frame is missing, in training and scoring; 0: complete setting."""
    mask_seed: int = MASK_SEED
    """Seed of the masks; it is not the training seed."""
    special_tokens: Special = "keep"
    """[CLS] and [SEP] of an incomplete text: as cached, or the mean of the token states that are
    left and zero (see `emt_missing`)."""
    reconstruct_text: NotNegative = 1.0
    """Weight λ of text's reconstruction; 0 leaves it out."""
    reconstruct_audio: NotNegative = 1.0
    """The same of audio."""
    reconstruct_vision: NotNegative = 1.0
    """The same of vision."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""

    def __post_init__(self) -> None:
        """Raises ValueError for values that do not go together."""
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}.")

    def weight(self, modality: Modality) -> float:
        """λ of its reconstruction, where frames go missing at all."""
        weight: float = getattr(self, f"reconstruct_{modality}")
        return weight if self.missing_rate > 0 else 0.0


PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(),
    "sims": Options(levels=2),
}
"""By corpus, of what MMSA has published."""

_PUBLISHED = "MMSA's settings for TFR-Net; epochs and the lack of a schedule as of its family"
RECIPES: Mapping[str, Recipe] = {
    corpus: Recipe(
        learning_rate=rate,
        batch_size=24,
        epochs=100,  # no end is told: patience sets it
        patience=6,
        warmup=0.0,
        schedule="constant",
        clip_norm=0.8,
        source=_PUBLISHED,
    )
    for corpus, rate in (("mosi", 1e-3), ("mosei", 2e-3), ("sims", 1e-3))
}
RECIPE = RECIPES["mosi"]
ENCODERS: Mapping[str, EncoderRecipe] = {
    corpus: EncoderRecipe(rate, 0.0, source=_PUBLISHED)
    for corpus, rate in (("mosi", 2e-6), ("mosei", 1e-5), ("sims", 2e-6))
}
ENCODER = ENCODERS["mosi"]
"""Of text, where it is live."""


class TFRNet(nn.Module):
    """Every modality attended by itself and the others; missing frames are reconstructed."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`."""
        super().__init__()
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.missing_rate, self.mask_seed = options.missing_rate, options.mask_seed
        self.special_tokens: Special = options.special_tokens
        self.options, d, count = options, options.width, len(self.modalities)
        self.mixes = LayerMixes(inputs)
        self.convolutions = nn.ModuleDict(
            {m: TemporalConvolution(inputs[m].width, d) for m in self.modalities}
        )
        self.embedding_dropout = Dropout(options.embedding_dropout)
        drops = options.attention_dropout, options.dropout
        self.streams = nn.ModuleDict(
            {
                f"{source}_to_{target}": CrossmodalEncoder(d, options.heads, options.levels, *drops)
                for target in self.modalities
                for source in self.modalities
            }
        )
        self.weights = {m: w for m in self.modalities if (w := options.weight(m)) > 0}
        self.reconstructions = nn.ModuleDict(
            {
                m: Reconstruction(
                    count * d, inputs[m].width, options.heads, options.restoring_layers, *drops
                )
                for m in self.weights
            }
        )
        self.gates = nn.ModuleDict(
            {m: ConvolutionalGate(count * d, d, d, options.dropout) for m in self.modalities}
        )
        self.head = nn.Sequential(
            Dropout(options.dropout),
            nn.Linear(count * d, d),
            nn.ReLU(),
            Dropout(options.dropout),
            nn.Linear(d, options.classes),
        )
        self.total: Callable[[Tensor], Tensor] = alone

    def forward(self, batch: Batch) -> Output:
        """Scores; in training, where frames go missing, ``reconstruction_<modality>``."""
        packed, missing = dict[Modality, Packed](), dict[Modality, Tensor]()
        for m in self.modalities:
            mix, mask = partial(self.mixes.mixed, m), batch.masks[m]
            if self.missing_rate > 0:
                shown, gone = incomplete_view(self, batch, m, mix)
                missing[m] = gone[mask].nonzero().squeeze(1)
            else:
                shown = mix(batch.features[m])
            packed[m] = Packed.of(shown, mask)
        found = self.extract(packed)
        losses: dict[str, Tensor] = {}
        for m, weight in self.weights.items() if self.training and missing else ():
            with torch.no_grad():
                whole = Packed.of(self.mixes.mixed(m, batch.features[m]), batch.masks[m]).rows
            guess = self.reconstructions[m](found[m], missing[m])
            error = restored_error(guess, whole.index_select(0, missing[m]), self.total)
            losses[f"reconstruction_{m}"] = weight * error
        own = {m: self.gates[m](found[m]) for m in self.modalities}
        together = torch.cat(list(own.values()), dim=1)
        answers = self.head(together)
        return Output(
            prediction=shaped(answers),
            losses=losses,
            representations={
                "fused": together.detach(),
                **{m: vector.detach() for m, vector in own.items()},
            },
        )

    def extract(self, packed: Mapping[Modality, Packed]) -> dict[Modality, Packed]:
        """H'_m (N_m, c * d) of the frames `packed`: what each modality finds in itself and others,
        sources in the order of `modalities`."""
        start = {
            m: with_positions(self.convolutions[m](frames)).map(self.embedding_dropout)
            for m, frames in packed.items()
        }
        return {
            target: x.like(
                torch.cat(
                    [self.streams[f"{n}_to_{target}"](x, start[n]).rows for n in start], dim=1
                )
            )
            for target, x in start.items()
        }

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, and how frames go missing
        (`told_of_missing`)."""
        return self.mixes.weights | told_of_missing(self.missing_rate, self.modalities)
