"""Parts of TFR-Net (see tfr_net.py): reconstruction and the gate.

Shapes: N and M real frames of the whole batch, of a target and of a source modality; d the common
width, c modalities in use.
"""

import torch
from torch import Tensor, nn

from ..layers.convolution import TemporalConvolution
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.lstm import GRU
from ..layers.packed import Packed
from ..layers.transformer import TransformerLayer


class Reconstruction(nn.Module):
    """Frames as they would be, from what was found of them: self-attention, then a linear map."""

    def __init__(
        self,
        width: int,
        out: int,
        heads: int,
        layers: int,
        attention_dropout: float,
        dropout: float,
    ) -> None:
        """From frames of length `width` to those of the input, of length `out`."""
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, 4 * width, attention_dropout, dropout, norm_first=True)
            for _ in range(layers)
        )
        self.map = Linear(width, out)

    def forward(self, frames: Packed, missing: Tensor) -> Tensor:
        """(N, c * d), rows of the missing frames (n,) -> (n, out)."""
        for layer in self.layers:
            frames = layer(frames)
        restored: Tensor = self.map(frames.rows.index_select(0, missing))
        return restored


class ConvolutionalGate(nn.Module):
    """One vector a clip of one modality's frames: what a gate lets through, its maxima over time.

    With H the frames found, H̄ = tanh(GRU(H)) both ways, G = sigmoid(Conv(H̄)):
    u = max over time of tanh(W [H̄ * G; H] + b).
    """

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        """For frames of length `width`; `hidden` units each way, vectors of length `out`."""
        super().__init__()
        self.recurrence = GRU(width, hidden)
        self.gate = TemporalConvolution(2 * hidden, 2 * hidden)
        self.join = Linear(2 * hidden + width, out)
        self.dropout = Dropout(dropout)

    def forward(self, frames: Packed) -> Tensor:
        """(N, width) -> (batch, out); zero for a clip without frames."""
        context = self.recurrence(frames).map(torch.tanh)
        gate = torch.sigmoid(self.gate(context).rows)
        both = torch.cat([context.rows * gate, frames.rows], dim=1)
        return frames.like(torch.tanh(self.join(self.dropout(both)))).maxima().squeeze(1)
