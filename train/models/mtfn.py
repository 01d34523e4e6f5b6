"""MTFN: tensor fusion (`tfn`) that also learns from each modality's own annotation.

Yu et al., "CH-SIMS", ACL 2020; `shared.unimodal_tasks` has the loss and the departures, `tfn` the
tensor and the subnets. Symbols, with B clips and w_m the width of modality m's vector:

    z_m  (B, w_m)          vector of a modality, exactly 0 if it is not there
    ŷ_m  (B,)              score of one modality: D_m(z_m)
    Z    (B, Π (w_m + 1))  outer product of all [z_m; 1]
    ŷ    (B,)              head of a net over Z
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field
from torch import nn

from ...cache.spec import Modality
from ...config import Count, Fraction, Positive
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline, dense, embedding_subnets, embedding_widths
from .shared.interface import Batch, InputShape, Output
from .shared.unimodal_tasks import UnimodalTasks
from .tfn import fusion_tensor


@dataclass(frozen=True)
class Options:
    """[train.mtfn]; the widths are TFN's, the rest is ours."""

    text_width: Positive = 128
    """Units of the LSTM over text, and length of its vector."""
    audio_width: Positive = 32
    """Units of each layer of the net of audio, and length of its vector."""
    vision_width: Positive = 32
    """The same of vision."""
    depth: Positive = 3
    """Layers of the nets of audio and vision."""
    hidden: Positive = 128
    """Units of each of the two layers over the tensor."""
    unimodal_hidden: Positive = 32
    """Units of the layer before a modality's own score."""
    unimodal_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight a of each modality's loss."""
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer."""
    text_hidden: Count = 0
    """Units of the LSTM over text, where a linear layer makes its vector; 0: `text_width`."""
    input_norm: bool = False
    """As the reference toolkit: the means of audio and vision go through a batch normalisation,
    dropout acts there and not within the nets, and the layer on text's last state is linear."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = replace(baseline_parts.RECIPE, learning_rate=1e-3)


class MTFN(Baseline):
    """A net over the outer product of the modalities' vectors, and a score of each."""

    one_label = True

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.subnets = embedding_subnets(inputs, options)
        widths, dropout = embedding_widths(self.modalities, options), options.dropout
        self.tasks = UnimodalTasks(
            widths, options.unimodal_hidden, options.classes, dropout, options.unimodal_weight
        )
        size = math.prod(w + 1 for w in widths.values())
        self.post = dense([size, options.hidden, options.hidden], dropout)
        self.head = nn.Linear(options.hidden, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores; ``unimodal_<modality>`` losses in training."""
        z = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        output = self.answer(self.post(fusion_tensor(list(z.values()))), z)
        losses = self.tasks.losses(self.tasks(z), batch) if self.training else {}
        return replace(output, losses=losses)
