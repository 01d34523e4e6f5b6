"""A clip's frames as one vector: first or mean token of text, end states of LSTMs for the rest.

What `self_mm`, `misa` and `mmim` begin with. Frames that are not real are passed over, and a clip
without a real frame has the vector zero.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from ...layers.layer_mix import LayerMix
from ...layers.lstm import LSTM, TwoWayLSTM
from ...layers.packed import Packed
from .interface import InputShape

Pick = Literal["first", "mean"]
"""Of a text's tokens: the first, which is [CLS] or ``<s>``, or the mean of all."""


class Tokens(nn.Module):
    """Token states as they are: one of them, or their mean."""

    def __init__(self, shape: InputShape, pick: Pick) -> None:
        """For tokens of this shape; vectors are as wide."""
        super().__init__()
        self.pick, self.out = pick, shape.width
        self.mix = None if shape.layers is None else LayerMix(shape.layers)

    def of(self, frames: Packed) -> Tensor:
        """The same of frames that lie packed already, (N, width) -> (batch, width)."""
        return frames.mean() if self.pick == "mean" else frames.first()

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """([batch, layers, frames, width] or without layers), (batch, frames) -> (batch, width)."""
        seen = mask if self.pick == "mean" else mask & (mask.cumsum(dim=1) == 1)
        share = seen.to(features.dtype) / seen.sum(dim=1, keepdim=True).clamp(min=1)
        if self.mix is None:
            return (share.unsqueeze(1) @ features).squeeze(1)
        # layers are mixed last: of one vector a clip, not of every token
        vectors: Tensor = self.mix(share[:, None, None] @ features)
        return vectors.squeeze(1)


class EndState(nn.Module):
    """The last state of an LSTM, or the end states of one each way, side by side."""

    project: nn.Linear | None
    """To another length, where one is asked for."""

    def __init__(self, shape: InputShape, hidden: int, out: int = 0, two_way: bool = False) -> None:
        """For frames of this shape; `hidden` units each way.

        With `out`, a linear layer makes vectors of that length of what is else the vector itself.
        """
        super().__init__()
        states = 2 * hidden if two_way else hidden
        self.out = out or states
        self.mix = None if shape.layers is None else LayerMix(shape.layers)
        kind = TwoWayLSTM if two_way else LSTM
        self.lstm = kind(shape.width, hidden)
        self.register_module("project", nn.Linear(states, out) if out else None)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """As `Tokens`, but (batch, out)."""
        return self.of(Packed.of(features if self.mix is None else self.mix(features), mask))

    def of(self, frames: Packed) -> Tensor:
        """The same of frames that lie packed already, (N, width) -> (batch, out)."""
        if isinstance(self.lstm, TwoWayLSTM):
            vectors = torch.cat(self.lstm(frames)[1:], dim=-1)
        else:
            vectors = self.lstm(frames).last()
        if self.project is None:
            return vectors
        projected: Tensor = self.project(vectors) * frames.there.unsqueeze(1)
        return projected


class EndStates(nn.Module):
    """The end states of two stacked two-way LSTMs, side by side; a LayerNorm between the two."""

    def __init__(self, shape: InputShape, hidden: int) -> None:
        """For frames of this shape; `hidden` units in each of the four."""
        super().__init__()
        self.out = 4 * hidden
        self.mix = None if shape.layers is None else LayerMix(shape.layers)
        self.first = TwoWayLSTM(shape.width, hidden)
        self.norm = nn.LayerNorm(2 * hidden)
        self.second = TwoWayLSTM(2 * hidden, hidden)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """As `Tokens`, but (batch, 4 * hidden): forwards and backwards of the first, the second."""
        frames = Packed.of(features if self.mix is None else self.mix(features), mask)
        states, *ends = self.first(frames)
        _, *later = self.second(states.map(self.norm))
        return torch.cat([*ends, *later], dim=-1)


def end_state_encoders(
    inputs: Mapping[Modality, InputShape],
    pick: Pick,
    hidden: Mapping[Modality, int],
    out: Mapping[Modality, int],
    two_way: bool = False,
) -> tuple[nn.ModuleDict, dict[Modality, int]]:
    """`Tokens` for text and, with `hidden` units, `EndState` for others; each one's vector length.

    Both by modality, those of `inputs` in their usual order.
    """
    encoders, sizes = nn.ModuleDict(), dict[Modality, int]()
    for m in MODALITIES:
        if m in inputs:
            own: Tokens | EndState = (
                Tokens(inputs[m], pick)
                if m == "text"
                else EndState(inputs[m], hidden[m], out[m], two_way)
            )
            encoders[m], sizes[m] = own, own.out
    return encoders, sizes
