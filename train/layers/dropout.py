"""Dropout that is quick on a CPU.

PyTorch draws a number of its own for every unit, which on a CPU takes longer than all else that a
small layer does with it: about 12 ns a unit on an EPYC, against 1 ns here.
"""

import math

import torch
from torch import Tensor, nn

from .padded_mode import in_padded_mode

STEPS = 2**16
"""How finely a share to drop is met."""


def kept(
    shape: tuple[int, ...],
    dropout: float,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, float]:
    """Which units dropout keeps, as ones among zeros, and by what to multiply them.

    Sixteen random bits decide on a unit, drawn four units at a time. `dropout` is met to the
    nearest of 65536 steps.
    """
    dropped = round(dropout * STEPS)
    if dropped == STEPS:
        return torch.zeros(shape, dtype=dtype, device=device), 0.0
    units = math.prod(shape)
    draws = torch.randint(-(2**63), 2**63 - 1, (-(-units // 4),), device=device)
    bits = draws.view(torch.int16)[:units].view(shape)
    # compared into numbers: by way of truth values it takes ten times as long
    keep = torch.ge(bits, dropped - STEPS // 2, out=torch.empty(shape, dtype=dtype, device=device))
    return keep, STEPS / (STEPS - dropped)


def drop(units: Tensor, share: float) -> Tensor:
    """`units` of any shape with `share` of them zero and the others larger; for training."""
    if not share or units.device.type != "cpu" or in_padded_mode():
        return nn.functional.dropout(units, share)
    keep, scale = kept(tuple(units.shape), share, units.device, units.dtype)
    return units * keep.mul_(scale)


class Dropout(nn.Dropout):
    """`nn.Dropout`, quicker on a CPU."""

    def forward(self, units: Tensor) -> Tensor:
        """Any shape, kept."""
        return drop(units, self.p) if self.training else units
