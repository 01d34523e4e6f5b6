"""Feature masking in training: a span of each clip's frames and of its features is hidden.

After SpecAugment (Park et al., arXiv:1904.08779), without time warping, as in UEGD section 4.2.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...cache.spec import Modality
from ..models.shared.interface import Batch


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
    Words and sound that a live encoder is yet to read stay as they are; the frames that it makes of
    them are hidden, `Batch.after`.
    """
    if time == width == 0:
        return batch
    features, after = dict[Modality, Tensor](), dict[Modality, Callable[[Tensor], Tensor]]()
    for modality, values in batch.features.items():
        mask = batch.masks[modality]
        of_time, of_width = (_draws(mask, generator, part) for _ in range(2))
        spans = partial(
            _without_spans, mask=mask, time=time, width=width, of_time=of_time, of_width=of_width
        )
        if modality in batch.live:
            features[modality], after[modality] = values, spans
        else:
            features[modality] = spans(values)
    return replace(batch, features=features, after=after)


def _without_spans(
    values: Tensor, mask: Tensor, time: float, width: float, of_time: Tensor, of_width: Tensor
) -> Tensor:
    """([batch, layers, frames, width] or without layers), hidden spans zero.

    `of_time` and `of_width` (2, batch) are uniform numbers: length and position of a span.
    """
    frames = _span(mask.sum(dim=1), time, of_time)
    # position among the clip's real frames, so that gaps do not count
    hidden = mask & _within(mask.cumsum(dim=1) - 1, *frames)
    units = torch.full((len(mask),), values.shape[-1], device=values.device)
    axis = torch.arange(values.shape[-1], device=values.device).unsqueeze(0)
    columns = _within(axis, *_span(units, width, of_width))
    either = hidden.unsqueeze(2) | columns.unsqueeze(1)  # (batch, frames, width)
    if values.dim() == 3:
        return values.masked_fill(either, 0)
    # layer by layer, as a gather lays them out, so that nothing is copied to and fro
    return values.transpose(0, 1).masked_fill(either, 0).transpose(0, 1)


def _draws(mask: Tensor, generator: torch.Generator, part: tuple[int, int] | None) -> Tensor:
    """(2, batch) uniform numbers for the clips of `mask` (batch, frames)."""
    begin, whole = part or (0, len(mask))
    return torch.rand(2, whole, generator=generator, device=mask.device)[
        :, begin : begin + len(mask)
    ]


def _span(sizes: Tensor, share: float, draws: Tensor) -> tuple[Tensor, Tensor]:
    """First position and length, each (batch,), of a random span within `sizes` positions."""
    # in float64, where share * size is exact enough for 0.2 * 15 to allow 3
    largest = (share * sizes.double() + 1e-9).long().minimum(sizes - 1).clamp_(min=0)
    length = (draws[0] * (largest + 1)).long().minimum(largest)
    first = (draws[1] * (sizes - length + 1)).long().minimum(sizes - length)
    return first, length


def _within(position: Tensor, first: Tensor, length: Tensor) -> Tensor:
    start = first.unsqueeze(1)
    return (position >= start) & (position < start + length.unsqueeze(1))
