"""Inputs that are aligned with words (`InputShape.aligned`): word by word, side by side."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ....cache.spec import Modality
from .interface import InputShape


def all_aligned(inputs: Mapping[Modality, InputShape]) -> bool:
    """Whether row k of every input is of the clip's k-th word."""
    return all(shape.aligned for shape in inputs.values())


def word_by_word(frames: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of several modalities, each (batch, words, width) with its mask (batch, words), side by
    side: (batch, words, sum of widths) and which words any modality has, (batch, words).

    A modality that a word lacks is zero there.
    """
    most = max(mask.shape[1] for mask in masks)
    shown = [f.masked_fill(~m.unsqueeze(2), 0) for f, m in zip(frames, masks, strict=True)]
    rows = torch.cat([pad(f, (0, 0, 0, most - f.shape[1])) for f in shown], dim=2)
    real = torch.stack([pad(m, (0, most - m.shape[1])) for m in masks]).any(dim=0)
    return rows, real


def last_of(states: Tensor, real: Tensor) -> Tensor:
    """(batch, words, width) at each clip's last word of `real` (batch, words): (batch, width).

    Zero for a clip without any.
    """
    place = torch.arange(real.shape[1], device=real.device)
    last = (place * real).amax(dim=1)
    found = states[torch.arange(len(states), device=real.device), last]
    return found * real.any(dim=1, keepdim=True)
