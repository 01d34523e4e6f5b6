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
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, MeanSubnet, dense
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
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = baseline_parts.RECIPE


class LFDNN(Baseline):
    """Subnets of mean frames, concatenated."""

    stackable = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.subnets = nn.ModuleDict(
            {
                m: MeanSubnet(inputs[m].width, options.hidden, options.depth, options.dropout)
                for m in self.modalities
            }
        )
        together = len(self.modalities) * options.hidden
        self.post = dense([together, options.fused], options.dropout)
        self.head = nn.Linear(options.fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        return self.answer(self.post(torch.cat(list(own.values()), dim=1)), own)
