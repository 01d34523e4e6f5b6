"""What models share that move the words of a live text encoder between two of its blocks.

`mag_bert` and `cenet`. Behind the encoder there is one head alone; symbols as in their files:

    u  (B, d)  tanh(W [CLS] + b), of the encoder's layer in use
    ŷ  (B,)    sentiment, in the labels' unit, not clipped; (B, classes) logits
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from .hooks import Between
from .interface import Batch, InputShape, Output, shaped
from .layer_mix import LayerMixes

Shown = Mapping[Modality, tuple[Tensor, Tensor]]
"""Frames (clips, frames, width) of voice and face, and which are real (clips, frames)."""


class InsideOptions(Protocol):
    """What it needs of a model's Options."""

    @property
    def block(self) -> int:
        """Encoder block behind which words are moved."""

    @property
    def dropout(self) -> float:
        """Share dropped of what the head reads."""

    @property
    def classes(self) -> int:
        """Width of the answer."""


class InsideText(nn.Module):
    """The two ends of such a model: frames of voice and face, and the head behind the encoder."""

    within_text = True

    def __init__(
        self, name: str, options: InsideOptions, inputs: Mapping[Modality, InputShape]
    ) -> None:
        """For text, by a live encoder, and what else is among `inputs`.

        Raises ValueError without text.
        """
        super().__init__()
        if "text" not in inputs:
            raise ValueError(f"{name}: works inside a text encoder, and there is no text.")
        self.text_block, shape = options.block, inputs["text"]
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.others: tuple[Modality, ...] = tuple(m for m in self.modalities if m != "text")
        self.mixes = LayerMixes(inputs)
        self.aligned = {m for m in self.others if inputs[m].aligned}
        widths = {m: inputs[m].width for m in self.others}
        self.gate = self.mover(shape.width // shape.stacked, widths) if widths else None
        self.pooler = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(shape.width, options.classes)

    def mover(self, width: int, others: Mapping[Modality, int]) -> nn.Module:
        """What moves words of this `width` by frames of `others`."""
        raise NotImplementedError

    def moved(self, hidden: Tensor, tokens: Tensor, shown: Shown, words: Tensor | None) -> Tensor:
        """Words (clips, tokens, width), moved; `tokens` (clips, tokens) says which are real.

        `words` (clips, tokens) is the number of the word that a token is of, -1 of none, where
        frames of `aligned` modalities stand at words.
        """
        raise NotImplementedError

    def between(self, batch: Batch, clips: Tensor) -> Between:
        """`moved` for the rows `clips` of `batch`; without voice and face nothing is."""
        if self.gate is None:
            return lambda hidden, tokens: hidden
        shown = {
            m: (
                self.mixes.mixed(m, batch.features[m].index_select(0, clips)),
                batch.masks[m][clips],
            )
            for m in self.others
        }
        words = batch.words["text"][clips] if self.aligned and "text" in batch.words else None
        return lambda hidden, tokens: self.moved(hidden, tokens, shown, words)

    def forward(self, batch: Batch) -> Output:
        """Scores, of text that the encoder has read with `between` inside."""
        text, mask = self.mixes.mixed("text", batch.features["text"]), batch.masks["text"]
        first = text[torch.arange(len(text), device=text.device), mask.int().argmax(dim=1)]
        pooled = torch.tanh(self.pooler(first)) * mask.any(dim=1, keepdim=True)
        answers = self.head(self.dropout(pooled))
        return Output(
            prediction=shaped(answers),
            representations={"fused": pooled.detach()},
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return self.mixes.weights
