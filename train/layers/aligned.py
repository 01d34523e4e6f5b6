"""Several modalities laid on the same steps of time, for models that read them side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .packed import Packed


def common_steps(sequences: Sequence[Packed]) -> Tensor:
    """(B,) int64: the frames of each clip's first sequence that has any."""
    steps = sequences[0].lengths
    for other in sequences[1:]:
        steps = torch.where(steps > 0, steps, other.lengths)
    return steps


def aligned(sequences: Sequence[Packed], steps: Tensor) -> list[Packed]:
    """`sequences` with `steps` (B,) frames a clip each, all of them in the same places.

    Of a clip's n steps, from 0, the k-th is the mean of those of its T frames from floor(k T / n)
    up to ceil((k + 1) T / n): at least one, some shared by neighbours where T is no multiple of n.
    Sequences that are aligned already are left as they are. Where a clip has no frames of a
    sequence, its steps there are zero.
    """
    longest = max(1, *(one.longest for one in sequences))
    place = torch.arange(longest, device=steps.device)
    real, divisor = place < steps.unsqueeze(1), steps.clamp(min=1).unsqueeze(1)
    found = list[Packed]()
    for one in sequences:
        frames, count = one.padded(), one.lengths.unsqueeze(1)
        first = (place * count // divisor).unsqueeze(2)
        end = (((place + 1) * count + divisor - 1) // divisor).unsqueeze(2)
        at = torch.arange(frames.shape[1], device=steps.device)
        within = (at >= first) & (at < end) & real.unsqueeze(2)
        shares = within / within.sum(dim=2, keepdim=True).clamp(min=1)
        laid = Packed.of(shares.to(frames.dtype) @ frames, real)
        found.append(found[0].like(laid.rows) if found else laid)
    return found
