"""Feature masking in training: a span of each clip's frames and of its features is hidden.

After SpecAugment (Park et al., arXiv:1904.08779), without time warping, as in UEGD section 4.2.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .models.base import Batch


def hide(
    batch: Batch,
    time: float,
    width: float,
    generator: torch.Generator,
    part: tuple[int, int] | None = None,
) -> Batch:
    """`batch` with at most the share `time` of each clip's real frames set to zero, and at most
    the share `width` of its feature axis.

    One span each a clip and modality, its length uniform from nothing to the largest allowed,
    never the whole; under standardised inputs zero is the mean. A time span counts real frames
    only. Layers of a weighted input share their spans. Masks stay: a hidden frame is still real.
    Where `batch` is a part of a larger one, `part` is the position of its first clip and how many
    clips there are in all: spans are then drawn for all.
    """
    if time == width == 0:
        return batch
    features = {}
    for modality, values in batch.features.items():
        mask = batch.masks[modality]
        frames = _span(mask.sum(dim=1), time, generator, part)
        # position among the clip's real frames, so that gaps do not count
        hidden = mask & _within(mask.cumsum(dim=1) - 1, *frames)
        units = torch.full((batch.size,), values.shape[-1], device=values.device)
        axis = torch.arange(values.shape[-1], device=values.device).unsqueeze(0)
        columns = _within(axis, *_span(units, width, generator, part))
        either = hidden.unsqueeze(2) | columns.unsqueeze(1)  # (batch, frames, width)
        if values.dim() == 3:
            features[modality] = values.masked_fill(either, 0)
        else:  # layer by layer, as a gather lays them out, so that nothing is copied to and fro
            features[modality] = values.transpose(0, 1).masked_fill(either, 0).transpose(0, 1)
    return replace(batch, features=features)


def _span(
    sizes: Tensor, share: float, generator: torch.Generator, part: tuple[int, int] | None
) -> tuple[Tensor, Tensor]:
    """First position and length, each (batch,), of a random span within `sizes` positions."""
    begin, whole = part or (0, len(sizes))
    draws = torch.rand(2, whole, generator=generator, device=sizes.device)
    draws = draws[:, begin : begin + len(sizes)]
    # in float64, where share * size is exact enough for 0.2 * 15 to allow 3
    largest = (share * sizes.double() + 1e-9).long().minimum(sizes - 1).clamp_(min=0)
    length = (draws[0] * (largest + 1)).long().minimum(largest)
    first = (draws[1] * (sizes - length + 1)).long().minimum(sizes - length)
    return first, length


def _within(position: Tensor, first: Tensor, length: Tensor) -> Tensor:
    start = first.unsqueeze(1)
    return (position >= start) & (position < start + length.unsqueeze(1))
