"""Input scaling: each feature less its training mean, over its training deviation."""

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 2048
"""Frames held in float64 at a time."""


@dataclass(frozen=True)
class Scaling:
    """(x - mean) / deviation, feature by feature and layer by layer."""

    mean: Tensor
    """(layers, width) float32."""
    deviation: Tensor
    """(layers, width) float32, population deviation; 1 where a feature is constant."""

    def apply_(self, values: Tensor) -> Tensor:
        """Scale `values` (layers, rows, width) float32 in place."""
        return values.sub_(self.mean.unsqueeze(1)).div_(self.deviation.unsqueeze(1))

    def to(self, device: torch.device) -> "Scaling":
        """The same on another device."""
        return Scaling(self.mean.to(device), self.deviation.to(device))


def measure(values: Tensor, rows: Tensor) -> Scaling:
    """Mean and deviation over the frames `rows` (int64) of `values` (layers, N, width).

    In float64, a chunk of frames at a time; chunks are merged by Chan, Golub and LeVeque (1979),
    which keeps the digits of a feature whose mean is large beside its deviation. Without any
    rows the scaling changes nothing.
    """
    layers, _, width = values.shape
    mean = torch.zeros(layers, width, dtype=torch.float64)
    squares = torch.zeros_like(mean)  # summed squared distances from the mean
    for layer in range(layers):
        count = 0
        for chunk in torch.split(rows, CHUNK) if len(rows) else ():  # no rows split into one chunk
            part = values[layer].index_select(0, chunk).double()
            here = part.mean(dim=0)
            distance = here - mean[layer]
            total = count + len(part)
            squares[layer] += (part - here).square_().sum(dim=0)
            squares[layer] += distance.square() * (count * len(part) / total)
            mean[layer] += distance * (len(part) / total)
            count = total
    deviation = (squares / max(1, len(rows))).sqrt()
    # rounding in the sums leaves a constant feature a tiny deviation; dividing by it would make
    # noise out of the last bits
    constant = deviation <= 1e-7 * mean.abs()
    return Scaling(mean.float(), deviation.masked_fill(constant, 1.0).float())
