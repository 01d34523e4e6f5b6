"""Multimodal Cyclic Translation Network: Pham, Liang, Manzini, Morency and Poczos, "Found in
Translation: Learning Robust Joint Representations by Cyclic Translations between Modalities",
AAAI 2019, arXiv:1812.07809.

Written from memory of the paper, without any code of it. Learns from all modalities and, once it is
trained, reads the first of them alone: text, if it is there. Symbols, with N steps of all clips, S
that source and T_1, T_2 the others, laid over its steps:

    E_1          (N, d)        encoder of X_S
    X̂_1          (N, width_1)  X_1 as a decoder translates E_1
    X̂_S          (N, width_S)  X_S as X̂_1 is translated back: encoder and decoder of their own
    E_2          (N, d)        encoder of E_1
    X̂_2          (N, width_2)  X_2 as a decoder translates E_2
    ŷ            (B,)          head of the last state of an LSTM over the last E

The loss is the task's + `translation` (|X_1 - X̂_1|² + |X_2 - X̂_2|²) + `cycle` |X_S - X̂_S|².

Departures, and choices where the paper is silent:

- An encoder is an LSTM; a decoder is an LSTM over E whose states s attend to all of E, scores
  s W Eᵀ / sqrt(d), and a linear layer of both. It never reads what it has translated so far.
- Encoder and decoder of the way back are not those of the way there: widths differ.
- Squared errors are means over steps and entries; a modality that a clip lacks is not asked for. A
  clip without the source has no frames, and the head's answer to zeros.
- Of one modality nothing is translated: an encoder and the head are left.
- Sizes, weights, dropout and recipe are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.aligned import aligned
from ..layers.attention import cross_attention
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.lstm import LSTM
from ..layers.packed import Packed
from .shared import baseline as baseline_parts
from .shared.baseline import Baseline
from .shared.interface import Batch, InputShape, Output

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.mctn]; all of them ours."""

    width: Positive = 64
    """Width d of a joint representation, and units of every LSTM."""
    translation: Weight = 0.1
    """Weight of the squared error of translated frames."""
    cycle: Weight = 0.1
    """Weight of that of frames that were translated back."""
    dropout: Fraction = 0.2
    """Share dropped of the frames that encoders read, and of what the head reads."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = replace(baseline_parts.RECIPE, learning_rate=1e-3)


class Decoder(nn.Module):
    """Frames of another modality out of a joint representation."""

    def __init__(self, width: int, out: int) -> None:
        """For E of this `width`; frames come out `out` long."""
        super().__init__()
        self.lstm = LSTM(width, width)
        self.asks = Linear(width, width, bias=False)
        self.out = Linear(2 * width, out)

    def forward(self, E: Packed) -> Packed:
        """(N, width) -> (N, out)."""
        s: Packed = self.lstm(E)
        context = cross_attention(s.map(self.asks), E.like(E.rows.repeat(1, 2)), 1, 0.0)
        return E.like(self.out(torch.cat([s.rows, context], dim=1)))


class MCTN(Baseline):
    """Translates its source into the other modalities and learns from what it is on the way."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`; the first of them is the source."""
        super().__init__(inputs)
        d, self.options = options.width, options
        self.source, *others = self.modalities
        self.targets = tuple(others)
        self.dropout = Dropout(options.dropout)
        self.encoders = nn.ModuleList([LSTM(inputs[self.source].width, d)])
        self.encoders.extend(LSTM(d, d) for _ in others[1:])
        self.decoders = nn.ModuleList(Decoder(d, inputs[m].width) for m in others)
        if others:
            self.back_encoder = LSTM(inputs[others[0]].width, d)
            self.back_decoder = Decoder(d, inputs[self.source].width)
        self.reader = LSTM(d, d)
        self.head = nn.Linear(d, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores, out of the source alone; in training the losses of translations too."""
        X = Packed.of(self.frames(batch, self.source), batch.masks[self.source])
        E = list[Packed]()
        for encoder in self.encoders:
            E.append(encoder((E[-1] if E else X).map(self.dropout)))
        read: Packed = self.reader(E[-1])
        last = read.last()
        output = self.answer(self.dropout(last), {self.source: last})
        if not (self.training and self.targets):
            return output
        wanted = [Packed.of(self.frames(batch, m), batch.masks[m]) for m in self.targets]
        losses, options = {}, self.options
        translated = [decoder(e) for decoder, e in zip(self.decoders, E, strict=True)]
        asked = zip(self.targets, translated, aligned([X, *wanted], X.lengths)[1:], strict=True)
        for m, guess, truth in asked:
            error = missed(guess, truth.rows, batch.masks[m].any(dim=1))
            losses[f"translation_{m}"] = options.translation * error
        back: Packed = self.back_decoder(self.back_encoder(translated[0]))
        there = batch.masks[self.targets[0]].any(dim=1)
        losses["cycle"] = options.cycle * missed(back, X.rows, there)
        return replace(output, losses=losses)


def missed(guess: Packed, truth: Tensor, there: Tensor) -> Tensor:
    """Mean squared error of frames (N, width), a mean over the batch of each clip's own mean.

    Clips that are not `there` (B,) bool add nothing.
    """
    error = guess.like((guess.rows - truth).square().mean(dim=1, keepdim=True)).mean().squeeze(1)
    return (error * there).mean()
