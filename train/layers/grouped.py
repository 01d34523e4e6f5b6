"""Small layers side by side, each with weights of its own, as one product."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupedLinear(nn.Module):
    """A linear layer a group, all in one product; Glorot's uniform first weights, zero biases."""

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        """`groups` layers."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs))
        for group in self.weight:
            nn.init.xavier_uniform_(group)

    def forward(self, x: Tensor) -> Tensor:
        """(groups, rows, inputs) -> (groups, rows, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)

    def part(self, x: Tensor, first: int, end: int) -> Tensor:
        """The outputs `first` … `end` - 1 alone."""
        return torch.baddbmm(self.bias[..., first:end], x, self.weight[..., first:end])


class GroupedNorm(nn.Module):
    """A LayerNorm a group."""

    def __init__(self, groups: int, width: int) -> None:
        """`groups` norms over `width` entries."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, 1, width))
        self.bias = nn.Parameter(torch.zeros(groups, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """(groups, rows, width), each row normed."""
        return torch.addcmul(self.bias, functional.layer_norm(x, x.shape[-1:]), self.weight)
