"""MLF-DNN: late fusion (`lf_dnn`) that also learns from each modality's own annotation.

Yu et al., "CH-SIMS", ACL 2020; `shared.unimodal_tasks` has the loss and the departures. Symbols,
with B clips:

    z_m  (B, hidden)  net of the mean of a modality's real frames, exactly 0 if it is not there
    ŷ_m  (B,)         score of one modality: D_m(z_m)
    ŷ    (B,)         head of a net over all z_m side by side
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, MeanSubnet, dense
from .shared.interface import Batch, InputShape, Output
from .shared.unimodal_tasks import UnimodalTasks


@dataclass(frozen=True)
class Options:
    """[train.mlf_dnn]; all of them ours."""

    hidden: Positive = 64
    """Units of each layer of a modality's subnet."""
    depth: Positive = 2
    """Layers of it."""
    fused: Positive = 64
    """Units of the layer over all modalities, and of each modality's own."""
    unimodal_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight a of each modality's loss."""
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = baseline_parts.RECIPE


class MLFDNN(Baseline):
    """Subnets of mean frames, concatenated, and a score of each."""

    one_label = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        hidden, fused, dropout = options.hidden, options.fused, options.dropout
        self.subnets = nn.ModuleDict(
            {
                m: MeanSubnet(inputs[m].width, hidden, options.depth, dropout)
                for m in self.modalities
            }
        )
        self.tasks = UnimodalTasks(
            dict.fromkeys(self.modalities, hidden),
            fused,
            options.classes,
            dropout,
            options.unimodal_weight,
        )
        self.post = dense([len(self.modalities) * hidden, fused], dropout)
        self.head = nn.Linear(fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training."""
        z = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        output = self.answer(self.post(torch.cat(list(z.values()), dim=1)), z)
        losses = self.tasks.losses(self.tasks(z), batch) if self.training else {}
        return replace(output, losses=losses)
