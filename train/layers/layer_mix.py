"""One layer of several, by learned weights."""

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Weighted sum of an encoder's layers, the weights a softmax learned with the model.

    UEGD, Fig. 2; as in Chen et al., WavLM (arXiv:2110.13900). One trainable number a layer, all
    equal at first.
    """

    def __init__(self, layers: int) -> None:
        """A weight for each of `layers` layers."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """(layers,), positive, summing to one."""
        return torch.softmax(self.logits, dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, layers, frames, width) -> (batch, frames, width)."""
        batch, layers, frames, width = features.shape
        # one row a layer: the mix is then a single matrix-vector product, and as the gather lays
        # its rows out in this order already, the reshape copies nothing
        rows = features.transpose(0, 1).reshape(layers, -1)
        return (self.weights @ rows).view(batch, frames, width)
