"""Input scaling: each feature less its training mean, over its training deviation.

A feature that hardly varies beside the others of its layer is constant: it is divided by what is
usual in that layer, never by its own tiny deviation, which would make noise out of the last bits
and an explosion out of any clip (or any trained encoder) in which it does vary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .divisors import divisors

CHUNK = 2048
"""Frames held in float64 at a time."""


@dataclass(frozen=True)
class Scaling:
    """(x - mean) / deviation, feature by feature and layer by layer."""

    mean: Tensor
    """(layers, width) float32."""
    deviation: Tensor
    """(layers, width) float32, population deviation; `divisors` where a feature is constant."""

    def apply_(self, values: Tensor) -> Tensor:
        """Scale `values` (layers, rows, width) float32 in place."""
        return values.sub_(self.mean.unsqueeze(1)).div_(self.deviation.unsqueeze(1))

    def to(self, device: torch.device) -> "Scaling":
        """The same on another device."""
        return Scaling(self.mean.to(device), self.deviation.to(device))


class Running:
    """Mean and deviation of frames that come a part at a time.

    In float64, a chunk of frames at a time; chunks are merged by Chan, Golub and LeVeque (1979),
    which keeps the digits of a feature whose mean is large beside its deviation.
    """

    def __init__(self, layers: int, width: int) -> None:
        """Of frames of `layers` layers, `width` long."""
        self.count = 0
        self.mean = torch.zeros(layers, width, dtype=torch.float64)
        self.squares = torch.zeros_like(self.mean)  # summed squared distances from the mean

    def add(self, values: Tensor, rows: Tensor) -> None:
        """Count the frames `rows` (int64) of `values` (layers, N, width) in."""
        for chunk in torch.split(rows, CHUNK) if len(rows) else ():  # no rows split into one chunk
            total = self.count + len(chunk)
            for layer, mean, squares in zip(values, self.mean, self.squares, strict=True):
                part = layer.index_select(0, chunk).double()
                here = part.mean(dim=0)
                distance = here - mean
                squares += (part - here).square_().sum(dim=0)
                squares += distance.square() * (self.count * len(part) / total)
                mean += distance * (len(part) / total)
            self.count = total

    @property
    def scaling(self) -> Scaling:
        """By what was counted; without any frame it changes nothing."""
        deviation = (self.squares / max(1, self.count)).sqrt().numpy()
        whole = divisors(self.mean.numpy(), deviation)
        return Scaling(self.mean.float(), torch.from_numpy(whole).float())


def measure(values: Tensor, rows: Tensor) -> Scaling:
    """Mean and deviation over the frames `rows` (int64) of `values` (layers, N, width)."""
    running = Running(values.shape[0], values.shape[2])
    running.add(values, rows)
    return running.scaling
