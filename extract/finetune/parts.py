"""Parts of live encoders: what stands in for layers that are left out, and recomputed blocks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def computed_again(block: Callable[..., Any], *inputs: Any) -> Any:
    """`block(*inputs)`, of which nothing but the inputs is kept for the way back."""
    return checkpoint(block, *inputs, use_reentrant=False)


class BlockWithHook(nn.Module):
    """A block, and behind it what somebody else makes of the hidden states that leave it.

    A module and no hook, for hooks belong to the block: where that is computed again on the way
    back, they would be called again, after those whom they served are gone.
    """

    change: Callable[[Tensor], Tensor] | None = None
    """(batch, frames, width) -> the same; None: nothing is done."""

    def __init__(self, block: nn.Module) -> None:
        """Around `block`."""
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The block's output, its hidden states changed."""
        output = self.block(*inputs, **named)
        if self.change is None:
            return output
        if isinstance(output, tuple):
            return (self.change(output[0]), *output[1:])
        return self.change(output)


class PrecomputedEmbeddings(nn.Module):
    """In the place of a text encoder's embeddings: hidden states that are there already."""

    hidden: Tensor | None = None

    def forward(self, **_asked: Any) -> Tensor:
        """The states set beforehand."""
        assert self.hidden is not None
        return self.hidden


class NoPositionalConv(nn.Module):
    """In the place of positional convolutions: what was added before must not be added again."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Zeros like `hidden`."""
        return torch.zeros_like(hidden)
