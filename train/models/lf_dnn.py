"""Late-fusion DNN: each modality's mean frame through a net of its own, the results side by side.

No paper's own model: papers of the field train something of this kind to compare with. It sees
neither the order of frames nor, before the last net, any other modality. Symbols, with B clips:

    x̄_m  (B, width)   mean of the real frames
    z_m  (B, hidden)  subnet of x̄_m, exactly 0 for a modality that is not there
    ŷ    (B,)         head of a net over [z_text, z_audio, z_vision]

Choices, as there is nothing to depart from:

- Sizes, dropout and recipe are ours.
- The mean is over a clip's real frames; features averaged over padding too, as they are shared in
  the field, shrink the frames of short clips.

The reference toolkit's net (`PRESETS`) has TFN's subnetworks: an LSTM over text, batch norms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from ...cache.spec import Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from .shared import baseline as baseline_parts
from .shared.baseline import (
    Baseline,
    MeanSubnet,
    RecurrentSubnet,
    dense,
    embedding_widths,
    reference_recipe,
)
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.lf_dnn]"""

    hidden: Positive = 64
    """Units of each layer of a modality's subnet."""
    depth: Positive = 2
    """Layers of it."""
    fused: Positive = 64
    """Units of the layer over all modalities."""
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer."""
    post_layers: Positive = 1
    """Layers of `fused` units over all modalities."""
    text_width: Count = 0
    """Length of the vector of text; 0: `hidden`, as for every other that has no width of its own.
    This one and those below are as TFN has them (`tfn.Options`)."""
    audio_width: Count = 0
    """Units of each layer of the net of audio."""
    vision_width: Count = 0
    """The same of vision."""
    text_hidden: Count = 0
    """Units of an LSTM over text, in the place of the mean; 0: no LSTM."""
    input_norm: bool = False
    """As the reference toolkit: the means of audio and vision go through a batch normalisation, and
    dropout acts there and on all vectors side by side, nowhere else."""
    fusion_dropout: Fraction = 0.2
    """Share dropped of the latter."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


_REFERENCE = Options(128, 3, 128, 0.2, 2, 256, 16, 128, 128, True)
PRESETS: Mapping[str, Options] = {
    "mmsa-mosi": _REFERENCE,
    "mmsa-mosei": replace(_REFERENCE, text_width=128, audio_width=32),
    "mmsa-sims": replace(_REFERENCE, audio_width=32, fused=32, dropout=0.3, fusion_dropout=0.5),
}
"""What the reference toolkit builds, by corpus."""
RECIPE = baseline_parts.RECIPE
RECIPES: Mapping[str, Recipe] = {
    "mmsa-mosi": reference_recipe(1e-3, 128, 0.01),
    "mmsa-mosei": reference_recipe(2e-3, 64, 0.001),
    "mmsa-sims": reference_recipe(5e-3, 128, 0.005),
}


class LFDNN(Baseline):
    """Subnets of mean frames, concatenated."""

    stackable = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        widths = {
            m: w or options.hidden for m, w in embedding_widths(self.modalities, options).items()
        }
        share, normed = options.dropout, options.input_norm
        self.subnets, recurrent = nn.ModuleDict(), options.text_hidden > 0
        for m, out in widths.items():
            width = inputs[m].width
            if m == "text" and recurrent:
                units = options.text_hidden
                self.subnets[m] = RecurrentSubnet(width, units, share, out, rectified=not normed)
            else:
                self.subnets[m] = MeanSubnet(width, out, options.depth, share, normed)
        self.stackable = not recurrent
        self.dropout = Dropout(options.fusion_dropout if normed else 0.0)
        layers = [sum(widths.values()), *[options.fused] * options.post_layers]
        self.post = dense(layers, 0.0 if normed else share)
        self.head = nn.Linear(options.fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        together = self.dropout(torch.cat(list(own.values()), dim=1))
        return self.answer(self.post(together), own)
