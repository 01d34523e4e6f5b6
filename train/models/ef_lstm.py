"""Early-fusion LSTM: the modalities side by side, step by step, through one LSTM.

No paper's own model: papers of the field train it to compare with, on features aligned to words.
Symbols, with B clips, T_m frames of modality m, S common steps:

    X_m  (B, T_m, width)       cached features
    X̃_m  (B, S, width)         the same at S steps, each the mean over 1/S of the clip's time
    h    (B, hidden)           state of an LSTM behind the last step of [X̃_text, X̃_audio, X̃_vision]
    ŷ    (B,)                  head of a net over h

Departures, and choices where there is nothing to depart from:

- Early fusion needs frames that belong together. With align = "words" on all inputs the steps are
  the words, as in those papers, and h is the state behind a clip's last one. Else frames come at
  the rate of each encoder, so a clip's real frames of a modality are taken to fill its time evenly
  and are averaged within each of S equal parts of it; a frame across two parts counts for either by
  what lies in it, and a clip of fewer than S frames repeats them.
- A modality that a clip lacks is zero at every step.
- Sizes, dropout and recipe are ours, but for `PRESETS`. S is about the words of a clip: with many
  more steps than that, an LSTM must carry what the first words said too far.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.batch_norm import BatchNorm
from ..layers.dropout import Dropout
from .shared import baseline as baseline_parts
from .shared.aligned import all_aligned, last_of, word_by_word
from .shared.baseline import Baseline, dense, reference_recipe
from .shared.hooks import Recipe
from .shared.interface import Batch, InputShape, Output


@dataclass(frozen=True)
class Options:
    """[train.ef_lstm]"""

    steps: Positive = 16
    """Steps S that every clip is resampled to, where it is not aligned with words."""
    hidden: Positive = 128
    """Units of the LSTM and of the layer behind it."""
    layers: Positive = 1
    """LSTM layers, one over the other."""
    dropout: Fraction = 0.2
    """Share of units dropped behind the LSTM and behind the layer after it."""
    reference: bool = False
    """As the reference toolkit, for features aligned to words: clips of at most S frames stay as
    they are, with zeros behind, and each step goes through a batch normalisation first; dropout
    acts between LSTM layers and behind the last, nowhere else."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


PRESETS: Mapping[str, Options] = {
    "mmsa-mosi": Options(50, 128, 4, 0.5, True),
    "mmsa-mosei": Options(50, 256, 2, 0.4, True),
    "mmsa-sims": Options(39, 32, 3, 0.5, True),
}
"""What the reference toolkit builds, by corpus."""
RECIPE = baseline_parts.RECIPE
RECIPES: Mapping[str, Recipe] = {
    "mmsa-mosi": reference_recipe(1e-3, 32, 0.005),
    "mmsa-mosei": reference_recipe(5e-3, 128, 1e-4),
    "mmsa-sims": reference_recipe(5e-4, 128, 1e-3),
}


def resampled(frames: Tensor, mask: Tensor, steps: int) -> Tensor:
    """(batch, frames, width), (batch, frames) -> (batch, steps, width): means over parts of time.

    Of L real frames, frame r fills the time from r / L to (r + 1) / L; step s is the mean over the
    time from s / steps to (s + 1) / steps. Zero for a clip without real frames.
    """
    length = mask.sum(dim=1).view(-1, 1, 1)
    rank = (mask.cumsum(dim=1) - 1).unsqueeze(1)  # which of the real frames, (batch, 1, frames)
    step = torch.arange(steps, device=mask.device).view(1, -1, 1)
    # in units of 1 / (L * steps) of the clip's time, so that all borders are whole numbers
    begin = torch.maximum(step * length, rank * steps)
    end = torch.minimum((step + 1) * length, (rank + 1) * steps)
    shared = (end - begin).clamp(min=0) * mask.unsqueeze(1)
    shares = shared.to(frames.dtype) / length.clamp(min=1)  # each step's sum to one
    return shares @ frames


def in_place(frames: Tensor, mask: Tensor, steps: int) -> Tensor:
    """The same shapes: the frames of clips as they are, zeros where none is real and behind; clips
    with a real frame beyond `steps` are `resampled`."""
    kept = functional.pad(frames * mask.unsqueeze(-1), (0, 0, 0, steps - mask.shape[1]))
    long = mask[:, steps:].any(dim=1)
    if mask.shape[1] <= steps:
        return kept
    return torch.where(long.view(-1, 1, 1), resampled(frames, mask, steps), kept)


class EFLSTM(Baseline):
    """One LSTM over all modalities at once."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For any modalities of `inputs`."""
        super().__init__(inputs)
        self.steps, self.aligned = options.steps, all_aligned(inputs)
        width = sum(inputs[m].width for m in self.modalities)
        self.norm = BatchNorm(options.steps) if options.reference else None
        between = options.dropout if options.reference and options.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            width, options.hidden, options.layers, batch_first=True, dropout=between
        )
        self.dropout = Dropout(options.dropout)
        behind = 0.0 if options.reference else options.dropout
        self.post = dense([options.hidden, options.hidden], behind)
        self.head = nn.Linear(options.hidden, options.classes)

    def forward(self, batch: Batch) -> Output:
        """Scores; no modality has a vector of its own."""
        frames = [self.frames(batch, m) for m in self.modalities]
        masks = [batch.masks[m] for m in self.modalities]
        if self.aligned and self.norm is None:
            rows, real = word_by_word(frames, masks)
            states, _ = self.lstm(rows)
            return self.answer(self.post(self.dropout(last_of(states, real))), {})
        lay = resampled if self.norm is None else in_place
        steps = [lay(f, mask, self.steps) for f, mask in zip(frames, masks, strict=True)]
        together = torch.cat(steps, dim=2)
        if self.norm is not None:
            together = self.norm(together, torch.ones_like(batch.index, dtype=torch.bool))
        states, _ = self.lstm(together)
        return self.answer(self.post(self.dropout(states[:, -1])), {})
