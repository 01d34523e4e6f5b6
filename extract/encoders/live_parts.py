"""Parts of live encoders: what stands in for layers that are left out, and recomputed blocks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def computed_again(block: Callable[..., Any], *inputs: Any) -> Any:
    """`block(*inputs)`, of which nothing but the inputs is kept for the way back."""
    return checkpoint(block, *inputs, use_reentrant=False)


class Given(nn.Module):
    """In the place of a text encoder's embeddings: hidden states that are there already."""

    hidden: Tensor | None = None

    def forward(self, **_asked: Any) -> Tensor:
        """The states set beforehand."""
        assert self.hidden is not None
        return self.hidden


class Nothing(nn.Module):
    """In the place of positional convolutions: what was added before must not be added again."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Zeros like `hidden`."""
        return torch.zeros_like(hidden)
