"""Tensor Fusion Network: Zadeh, Chen, Poria, Cambria and Morency, "Tensor Fusion Network for
Multimodal Sentiment Analysis", EMNLP 2017, arXiv:1707.07250.

Written without any code of it. Symbols, with B clips and w_m the width of modality m's vector:

    z_m  (B, w_m)          vector of a modality, exactly 0 if it is not there
    Z    (B, Π (w_m + 1))  outer product of all [z_m; 1]: products of one, two and three modalities
    ŷ    (B,)              head of a net over Z

Departures, and choices where the paper is silent:

- Text enters as cached token states, not as word vectors; its vector comes of the LSTM's last state
  at a real token.
- The head is linear, in the labels' unit, where the paper has a sigmoid that is scaled (`limit`);
  the loss is that of [train].
- Of fewer than three modalities Z is the product of those in use. Where a clip lacks one, [0; 1]
  leaves the products of the others as they are.
- The vector of text is as wide as its LSTM. Dropout behind every layer, and the recipe, are ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...cache.spec import Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from .shared import baseline as baseline_parts
from .shared.baseline import (
    Baseline,
    dense,
    embedding_subnets,
    embedding_widths,
    reference_recipe,
)
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.tfn]; the widths are the paper's."""

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
    dropout: Fraction = 0.2
    """Share of units dropped behind every layer."""
    text_hidden: Count = 0
    """Units of the LSTM over text, where a linear layer makes its vector; 0: `text_width`."""
    input_norm: bool = False
    """As the reference toolkit: the means of audio and vision go through a batch normalisation,
    dropout acts there and not within the nets, and the layer on text's last state is linear."""
    tensor_dropout: Fraction = 0.0
    """Share dropped of the outer product; with `input_norm` none is behind the layers over it."""
    limit: Annotated[float, Field(ge=0)] = 0.0
    """Scores lie in ±limit, by a sigmoid that is scaled, as in the paper; 0: the head is linear."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


PRESETS: Mapping[str, Options] = {
    "mmsa-mosi": Options(32, 32, 128, 3, 64, 0.3, 128, True, 0.5, 3.0),
    "mmsa-mosei": Options(128, 16, 128, 3, 16, 0.4, 128, True, 0.4, 3.0),
    "mmsa-sims": Options(256, 32, 128, 3, 32, 0.4, 128, True, 0.4, 3.0),
}
"""What the reference toolkit builds, by corpus."""
RECIPE = replace(baseline_parts.RECIPE, learning_rate=1e-3)
RECIPES: Mapping[str, Recipe] = {
    "mmsa-mosi": reference_recipe(1e-3, 32),
    "mmsa-mosei": reference_recipe(5e-3, 128),
    "mmsa-sims": reference_recipe(5e-4, 32),
}


def with_one(vectors: Tensor) -> Tensor:
    """(batch, width) -> (batch, width + 1): a one behind each vector."""
    return functional.pad(vectors, (0, 1), value=1.0)


def fusion_tensor(vectors: Sequence[Tensor]) -> Tensor:
    """Vectors (batch, w_m) -> (batch, Π (w_m + 1)): the outer product of all [z_m; 1], flattened.

    The last modality's index runs fastest; the last entry of all is the product of the ones.
    """
    product = with_one(vectors[0])
    for vector in vectors[1:]:
        product = (product.unsqueeze(2) * with_one(vector).unsqueeze(1)).flatten(1)
    return product


class TFN(Baseline):
    """A net over the outer product of the modalities' vectors."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.subnets = embedding_subnets(inputs, options)
        size = math.prod(w + 1 for w in embedding_widths(self.modalities, options).values())
        self.dropout, self.limit = Dropout(options.tensor_dropout), options.limit
        share = 0.0 if options.input_norm else options.dropout
        self.post = dense([size, options.hidden, options.hidden], share)
        self.head = nn.Linear(options.hidden, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores."""
        own = {m: self.subnets[m](self.frames(batch, m), batch.masks[m]) for m in self.modalities}
        output = self.answer(self.post(self.dropout(fusion_tensor(list(own.values())))), own)
        if not self.limit or output.prediction.dim() > 1:
            return output
        return replace(output, prediction=self.limit * (2 * torch.sigmoid(output.prediction) - 1))
