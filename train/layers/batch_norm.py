"""Batch normalisation by the clips that are there, over all processes that share the batch.

Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .whole_batch import alone


class BatchNorm(nn.Module):
    """Each channel less its mean over a batch, over its deviation; names are `nn.BatchNorm1d`'s.

    Scoring uses running means and variances, so that a clip's numbers depend on no other. Where a
    channel has a single number in the whole batch, training uses them as well: a deviation of one
    number says nothing.
    """

    running_mean: Tensor
    running_var: Tensor
    momentum, epsilon = 0.1, 1e-5

    def __init__(self, channels: int) -> None:
        """`channels` means and variances."""
        super().__init__()
        self.total: Callable[[Tensor], Tensor] = alone
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, channels) or (B, channels, any), of which the clips `there` (B,) bool count."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = self._measured(x, there)
        scale = self.weight * torch.rsqrt(variance + self.epsilon)
        shift = self.bias - mean * scale
        shape = (1, -1, *[1] * (x.dim() - 2))
        return x * scale.view(shape) + shift.view(shape)

    def _measured(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and population variance (channels,) of this batch; running ones move towards it."""
        rows = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
        known = there.to(x.dtype).view(-1, 1, 1)
        count = self.total(known.sum()) * rows.shape[2]
        mean = self.total((rows * known).sum(dim=(0, 2))) / count.clamp(min=1)
        centred = (rows - mean.view(1, -1, 1)) * known
        variance = self.total(centred.square().sum(dim=(0, 2))) / count.clamp(min=1)
        enough = count > 1
        with torch.no_grad():
            share = self.momentum * enough
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        return (
            torch.where(enough, mean, self.running_mean),
            torch.where(enough, variance, self.running_var),
        )
