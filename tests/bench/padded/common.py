"""What the padded forms share."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer`, an `nn.Linear` of any make, as PyTorch has it."""
    assert isinstance(layer, nn.Linear)
    return functional.linear(x, layer.weight, layer.bias)


def seen(mask: Tensor) -> Tensor:
    """(batch, frames) -> mask of keys, (batch, 1, 1, frames); a clip without any sees them all."""
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]


def split(x: Tensor, heads: int) -> Tensor:
    """(batch, frames, width) -> (batch, heads, frames, width of a head)."""
    made: Tensor = x.unflatten(2, (heads, -1)).transpose(1, 2)
    return made


def joined(x: Tensor) -> Tensor:
    """The way back."""
    return x.transpose(1, 2).flatten(2)


def front(mask: Tensor) -> Tensor:
    """(batch,) frames of each clip; real frames must come first."""
    lengths = mask.sum(dim=1)
    assert bool((torch.arange(mask.shape[1]) < lengths.unsqueeze(1)).eq(mask).all())
    return lengths
