"""Parts of TFR-Net (see tfr_net.py): reconstruction and the gate.

Shapes: N and M real frames of the whole batch, of a target and of a source modality; d the common
width, c modalities in use.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..layers.dropout import Dropout
from ..layers.linear import FrameLinear
from ..layers.lstm import RowGRU
from ..layers.packed import Packed, TemporalConvolution, adaptive_max
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
        self.heads = heads
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, 4 * width, attention_dropout, dropout, norm_first=True)
            for _ in range(layers)
        )
        self.map = FrameLinear(width, out)

    def forward(self, rows: Tensor, packed: Packed, missing: Tensor) -> Tensor:
        """(N, c * d), its clips, rows of the missing frames (n,) -> (n, out)."""
        companies = packed.companies(self.heads)
        for layer in self.layers:
            rows = layer(rows, companies)
        restored: Tensor = self.map(rows.index_select(0, missing))
        return restored


class ConvolutionalGate(nn.Module):
    """One vector a clip of one modality's frames: what a gate lets through, its maxima over time.

    With H the frames found, H̄ = tanh(GRU(H)) both ways, G = sigmoid(Conv(H̄)):
    u = max over time of tanh(W [H̄ * G; H] + b).
    """

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        """For frames of length `width`; `hidden` units each way, vectors of length `out`."""
        super().__init__()
        self.recurrence = RowGRU(width, hidden)
        self.gate = TemporalConvolution(2 * hidden, 2 * hidden)
        self.join = FrameLinear(2 * hidden + width, out)
        self.dropout = Dropout(dropout)

    def forward(self, rows: Tensor, packed: Packed) -> Tensor:
        """(N, width) -> (batch, out); zero for a clip without frames."""
        context = torch.tanh(self.recurrence.rows(rows, packed.counts))
        gate = torch.sigmoid(self.gate.frames(replace(packed, values=context)))
        joined = torch.tanh(self.join(self.dropout(torch.cat([context * gate, rows], dim=1))))
        return adaptive_max(packed.padded(joined), packed.lengths, 1).squeeze(1)
