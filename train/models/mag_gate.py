"""The Multimodal Adaptation Gate of MAG-BERT (see mag_bert.py), and frames laid over words."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...cache.spec import Modality
from ..layers.dropout import Dropout
from ..layers.linear import Linear

LEAST = 1e-6
"""Length below which a displacement counts as so long, where it is divided by."""


class AdaptationGate(nn.Module):
    """Moves words by what voice and face show meanwhile, by no more than a share of their length.

    Of a word's state Z and frames X_m over it, one row each:

        g_m = ReLU(W_gm [Z; X_m] + b_m)           how much m says of this word, unit by unit
        H = Σ_m g_m * (W_m X_m) + b               the displacement
        Z̄ = Dropout(LayerNorm(Z + s H)),  s = min(1, β |Z| / |H|)
    """

    def __init__(
        self, width: int, others: Mapping[Modality, int], beta: float, dropout: float
    ) -> None:
        """For words of length `width` and frames of `others`, by modality."""
        super().__init__()
        self.beta = beta
        self.gates = nn.ModuleDict({m: Linear(width + n, width) for m, n in others.items()})
        self.shifts = nn.ModuleDict({m: Linear(n, width, bias=False) for m, n in others.items()})
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, words: Tensor, frames: Mapping[Modality, Tensor]) -> Tensor:
        """(n, width), (n, width of m) by modality -> (n, width)."""
        moved: Tensor = self.norm(words + self.displacement(words, frames))
        dropped: Tensor = self.dropout(moved)
        return dropped

    def displacement(self, words: Tensor, frames: Mapping[Modality, Tensor]) -> Tensor:
        """s H (n, width), never longer than β times the word."""
        shift = self.bias.expand_as(words)
        for m, shown in frames.items():
            gate = torch.relu(self.gates[m](torch.cat([words, shown], dim=1)))
            shift = shift + gate * self.shifts[m](shown)
        length = torch.linalg.vector_norm(shift, dim=1, keepdim=True).clamp(min=LEAST)
        most = self.beta * torch.linalg.vector_norm(words, dim=1, keepdim=True)
        limited: Tensor = shift * (most / length).clamp(max=1)
        return limited


def of_words(frames: Tensor, real: Tensor, words: Tensor) -> Tensor:
    """Frames (clips, words, width), one a word, handed to each word's tokens.

    `real` is (clips, words), `words` (clips, tokens) the number of the word that a token is of, -1
    of none -> (clips, tokens, width), zeros where there is no word or the word has no frame.
    """
    most = frames.shape[1] - 1
    place = words.clamp(0, most)
    there = (words >= 0) & (words <= most) & real.gather(1, place)
    shown = frames.gather(1, place.unsqueeze(2).expand(-1, -1, frames.shape[2]))
    return shown.masked_fill(~there.unsqueeze(2), 0)


def laid_over(frames: Tensor, real: Tensor, tokens: Tensor) -> Tensor:
    """Frames (clips, frames, width) as means over the words that they are spread over evenly.

    `real` is (clips, frames), `tokens` (clips, tokens) the tokens there are -> (clips, tokens,
    width). Of a clip's n words, counted from 0, the k-th has those of its T real frames, counted
    without gaps, from floor(k T / n) up to ceil((k + 1) T / n): at least one, some of them shared
    by neighbours where T is no multiple of n. The first and the last token are no words and have
    zeros, as has a clip without frames.
    """
    count = real.sum(dim=1)[:, None]
    words = (tokens.sum(dim=1)[:, None] - 2).clamp(min=0)
    place = tokens.cumsum(dim=1) - 2
    word = tokens & (place >= 0) & (place < words)
    divisor = words.clamp(min=1)
    first = place * count // divisor
    end = ((place + 1) * count + divisor - 1) // divisor
    rank = (real.cumsum(dim=1) - 1)[:, None]
    within = (rank >= first[:, :, None]) & (rank < end[:, :, None])
    within = within & real[:, None] & word[:, :, None]
    shares = within / within.sum(dim=2, keepdim=True).clamp(min=1)
    return shares.to(frames.dtype) @ frames.masked_fill(~real.unsqueeze(2), 0)
