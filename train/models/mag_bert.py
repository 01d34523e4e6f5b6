"""MAG-BERT: Rahman, Hasan, Lee, Zadeh, Mao, Morency and Hoque, "Integrating Multimodal Information
in Large Pretrained Transformers", ACL 2020, arXiv:1908.05787.

Works inside a live text encoder, behind one of its blocks (`hooks.WithinText`); there is no such
model on cached text. Symbols, with B clips, T tokens, d the encoder's width:

    Z      (B, T, d)      what leaves the block
    X_m    (B, T, width)  frames of voice or face, laid over the words
    Z̄      (B, T, d)      words moved by the gate (`mag_gate`), which enter the next block
    u      (B, d)         tanh(W [CLS] + b), of the encoder's layer in use
    ŷ      (B,)           sentiment, in the labels' unit, not clipped; (B, classes) logits

Departures, and choices that are ours. Written without the paper at hand: the gate is as it is
commonly told, and no equation is numbered here.

- With align = "words" on all inputs voice and face stand at the very words, as published, and all
  tokens of a word get what was heard and seen during it. Without, a clip's real frames are spread
  evenly over its words, the mean of each share (`mag_gate.laid_over`). Special tokens get zeros.
- The gate's activation is ReLU. The frames' maps have no bias, their sum has one.
- The gate stands behind block 1 unless told otherwise; the head reads [CLS] through a linear layer
  and tanh as BERT's pooler does, but untrained: extraction has no use for BERT's own.
- A modality that is absent from a clip shows zeros; without voice and face at all (modalities
  "T") there is no gate, and what is left is the encoder fine-tuned: the comparison.
- A clip without text is scored by the head's bias.
- The rates are ours: what is usual for BERT, and more for the weights that begin untrained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.packed import Packed
from .mag_gate import AdaptationGate, laid_over, of_words
from .shared.hooks import EncoderRecipe, Recipe
from .shared.inside_text import InsideText, Shown
from .shared.interface import InputShape


@dataclass(frozen=True)
class Options:
    """[train.mag_bert]; all of them ours."""

    block: Positive = 1
    """Encoder block behind which the gate stands."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Longest displacement of a word, as a share β of its own length."""
    gate_dropout: Fraction = 0.1
    """Share dropped of what leaves the gate."""
    dropout: Fraction = 0.1
    """Share dropped of what the head reads."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = Recipe(
    learning_rate=1e-3,
    batch_size=32,
    epochs=40,
    patience=8,
    weight_decay=0.01,
    warmup=0.1,
    schedule="cosine",
    optimizer="adamw",
    source="ours: as BERT is usually fine-tuned",
)
ENCODER = EncoderRecipe(2e-5, 0.01, source=RECIPE.source)


class MAGBert(InsideText):
    """A text encoder whose words are moved by voice and face while it reads them."""

    gate: AdaptationGate | None

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For text, by a live encoder, and what else is among `inputs`.

        Raises ValueError without text.
        """
        self.beta, self.gate_dropout = options.beta, options.gate_dropout
        super().__init__("mag_bert", options, inputs)

    def mover(self, width: int, others: Mapping[Modality, int]) -> AdaptationGate:
        """The gate."""
        return AdaptationGate(width, others, self.beta, self.gate_dropout)

    def moved(self, hidden: Tensor, tokens: Tensor, shown: Shown, words: Tensor | None) -> Tensor:
        """Z (clips, tokens, d) -> Z̄."""
        assert self.gate is not None
        gate, widths = self.gate, [frames.shape[2] for frames, _ in shown.values()]
        laid = [
            laid_over(frames, real, tokens)
            if words is None or m not in self.aligned
            else of_words(frames, real, words[:, : tokens.shape[1]])
            for m, (frames, real) in shown.items()
        ]

        def of_rows(rows: Tensor) -> Tensor:
            states, *frames = torch.split(rows, [hidden.shape[2], *widths], dim=1)
            found: Tensor = gate(states, dict(zip(self.others, frames, strict=True)))
            return found

        together = Packed.of(torch.cat([hidden, *laid], dim=2), tokens)
        return together.map(of_rows).unpacked()
