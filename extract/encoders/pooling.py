"""Frames as statistics of them: over each step of sound, or over a whole clip."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.store.writer import ClipFeatures

KEPT = ("none", "stride")
"""Ways of pooling that keep frames as they are."""


def parts(pool: str) -> int:
    """How many times as wide as the encoder's frames pooled ones are.

    >>> parts("mean+std+max"), parts("stride")
    (3, 1)
    """
    return 1 + pool.count("+")


def pooled(hidden: Tensor, real: Tensor, hop: int, pool: str) -> Tensor:
    """Every hop-th frame, or statistics of each hop's real frames side by side.

    (batch, frames, width) -> (batch, kept, parts * width); `real` (batch, frames) is True where a
    frame is not padding. Deviations are those of the frames themselves, 0 of one frame.
    """
    if pool in KEPT:
        return hidden[:, ::hop]
    if pool == "mean" and hop == 1:
        return hidden
    batch, frames, width = hidden.shape
    short = -frames % hop
    weights = torch.nn.functional.pad(real, (0, short)).view(batch, -1, hop, 1)
    padded = torch.nn.functional.pad(hidden.float(), (0, 0, 0, short)).view(batch, -1, hop, width)
    count = weights.sum(2).clamp(min=1)
    mean = (padded * weights).sum(2) / count
    statistics = [mean]
    if "std" in pool:
        away = (padded - mean.unsqueeze(2)).square() * weights
        statistics.append((away.sum(2) / count).sqrt())
    if "max" in pool:
        lowest = padded.masked_fill(~weights, -torch.inf).amax(2)
        statistics.append(torch.where(weights.any(2), lowest, 0))
    return torch.cat(statistics, dim=-1)


def pooled_clip(
    features: ClipFeatures, pool: str, seen: NDArray[np.bool_] | None = None
) -> ClipFeatures:
    """`features` as one frame, of those frames that are `seen` (all valid ones, if unset); as they
    are where `pool` keeps them. What is told of single frames is left out."""
    if pool in KEPT:
        return features
    real = features.valid if seen is None else seen & features.valid
    values, frames = torch.from_numpy(features.values), len(real)
    whole = torch.from_numpy(real).expand(len(values), -1)
    frame = pooled(values, whole, frames, pool).numpy().astype(features.values.dtype)
    return replace(
        features,
        values=frame,
        times=features.times[:1],
        durations=features.durations.sum(keepdims=True),
        valid=np.array([real.any()]),
        side={},
    )
