"""MLMF: low-rank fusion (`lmf`) that also learns from each modality's own annotation.

Yu et al., "CH-SIMS", ACL 2020; `shared.unimodal_tasks` has the loss and the departures, `lmf` the
fusion. Symbols, with B clips and w_m the width of modality m's vector:

    z_m  (B, w_m)  vector of a modality, exactly 0 if it is not there
    ŷ_m  (B,)      score of one modality: D_m(z_m)
    h    (B, d)    low-rank fusion of all z_m
    ŷ    (B,)      linear in h
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field
from torch import nn

from ...cache.spec import Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from .lmf import LowRankFusion
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, embedding_subnets, embedding_widths
from .shared.interface import Batch, InputShape, Output
from .shared.unimodal_tasks import UnimodalTasks


@dataclass(frozen=True)
class Options:
    """[train.mlmf]; all of them ours."""

    text_width: Positive = 128
    """Units of the LSTM over text, and length of its vector."""
    audio_width: Positive = 32
    """Units of each layer of the net of audio, and length of its vector."""
    vision_width: Positive = 32
    """The same of vision."""
    depth: Positive = 3
    """Layers of the nets of audio and vision."""
    rank: Positive = 4
    """Products that the weight tensor is the sum of."""
    fused: Positive = 64
    """Width d of the fused vector."""
    unimodal_hidden: Positive = 32
    """Units of the layer before a modality's own score."""
    unimodal_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight a of each modality's loss."""
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer of the subnets, and before the head."""
    text_hidden: Count = 0
    """Units of the LSTM over text, where a linear layer makes its vector; 0: `text_width`."""
    input_norm: bool = False
    """As the reference toolkit: the means of audio and vision go through a batch normalisation,
    dropout acts there and not within the nets, and the layer on text's last state is linear."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = baseline_parts.RECIPE


class MLMF(Baseline):
    """Low-rank fusion of the modalities' vectors, and a score of each."""

    one_label = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.subnets = embedding_subnets(inputs, options)
        widths = embedding_widths(self.modalities, options)
        self.tasks = UnimodalTasks(
            widths,
            options.unimodal_hidden,
            options.classes,
            options.dropout,
            options.unimodal_weight,
        )
        self.fusion = LowRankFusion(list(widths.values()), options.fused, options.rank)
        self.dropout = Dropout(options.dropout)
        self.head = nn.Linear(options.fused, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training."""
        z = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        output = self.answer(self.dropout(self.fusion(list(z.values()))), z)
        losses = self.tasks.losses(self.tasks(z), batch) if self.training else {}
        return replace(output, losses=losses)
