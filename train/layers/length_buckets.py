"""Clips of like length in groups: within a group little is padding."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CPU = torch.device("cpu")


def like_length(
    lengths: NDArray[np.int64], device: torch.device, call: int = 0, step: int = 0
) -> list[NDArray[np.int64]]:
    """Positions among `lengths` (clips,), group by group, each once, the longest first.

    A further group costs as much as `call` frames, and as `step` frames for each of its own
    longest; it begins where padding has cost more. On a GPU, which waits for calls and hardly for
    frames, all are one group.

    >>> [group.tolist() for group in like_length(np.array([3, 90, 2, 85, 4]), CPU, call=20)]
    [[1, 3], [4, 0, 2]]
    """
    order = np.argsort(-lengths, kind="stable")
    if device.type != "cpu":
        return [order] if len(order) else []
    bounds, longest, wasted = [0], 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        wasted += longest - length
        if position == 0 or wasted > call + step * length:
            bounds += [position] if position else []
            longest, wasted = length, 0
    bounds += [len(order)] if len(order) else []
    return [order[a:b] for a, b in pairwise(bounds)]


def frames_to_read(mask: Tensor) -> Tensor:
    """(batch, frames) -> (batch,): frames up to each clip's last real one."""
    steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return torch.where(mask, steps, 0).amax(dim=1)
