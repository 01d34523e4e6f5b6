"""What the classical baselines share: layers mixed, and nets from frames to one vector a clip.

Shapes: B clips, T frames of the longest.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from ...layers.batch_norm import BatchNorm
from ...layers.dropout import Dropout
from ...layers.lstm import LSTM
from ...layers.packed import Packed, mean_frame
from .hooks import Recipe
from .interface import Batch, InputShape, Output, shaped
from .layer_mix import LayerMixes

RECIPE = Recipe(
    learning_rate=2e-3,
    batch_size=32,
    epochs=40,
    warmup=0.1,
    schedule="cosine",
    mask_time=0.2,
    mask_width=0.2,
    source="ours, by validation on the demo corpus; the masking is UEGD's",
)
"""Of baselines that have no published one for features like ours."""


def reference_recipe(
    rate: float, batch_size: int, weight_decay: float = 0.0, **more: Any
) -> Recipe:
    """A recipe of the reference toolkit: Adam at one rate until eight epochs are no better."""
    return Recipe(
        learning_rate=rate,
        batch_size=batch_size,
        weight_decay=weight_decay,
        epochs=200,
        patience=8,
        warmup=0.0,
        schedule="constant",
        source="the reference toolkit's configuration (MMSA 2.2.1); epochs unlimited there",
        **more,
    )


class Baseline(nn.Module):
    """The two ends of a baseline: frames of its modalities, and what `head` makes of one vector."""

    head: nn.Module

    def __init__(self, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`, one or more."""
        super().__init__()
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.mixes = LayerMixes(inputs)

    def frames(self, batch: Batch, m: Modality) -> Tensor:
        """(B, T, width) of one modality, weighted layers mixed."""
        return self.mixes.mixed(m, batch.features[m])

    def answer(self, fused: Tensor, own: Mapping[Modality, Tensor]) -> Output:
        """The head's answer to `fused` (B, any), which came of the modalities' `own` vectors."""
        return Output(
            prediction=shaped(self.head(fused)),
            representations={
                "fused": fused.detach(),
                **{m: vector.detach() for m, vector in own.items()},
            },
        )

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return self.mixes.weights


class MeanSubnet(nn.Module):
    """A feed-forward net on the mean of a clip's real frames."""

    def __init__(
        self, width: int, hidden: int, depth: int, dropout: float, normed: bool = False
    ) -> None:
        """`depth` layers of `hidden` units, for frames of length `width`.

        `normed`: the mean goes through a batch normalisation, and dropout acts there alone.
        """
        super().__init__()
        self.norm = BatchNorm(width) if normed else None
        self.dropout = Dropout(dropout if normed else 0.0)
        self.net = dense([width, *[hidden] * depth], 0.0 if normed else dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, width), (B, T) -> (B, hidden), zero for a clip without real frames."""
        mean, there = mean_frame(frames, mask), mask.any(dim=1)
        if self.norm is not None:
            mean = self.dropout(self.norm(mean, there))
        vector: Tensor = self.net(mean)
        return vector * there.unsqueeze(1)


class RecurrentSubnet(nn.Module):
    """An LSTM over a clip's real frames, and a layer on its last state."""

    def __init__(
        self, width: int, hidden: int, dropout: float, out: int = 0, rectified: bool = True
    ) -> None:
        """`hidden` units in the LSTM, `out` (0: as many) in the layer, which is linear unless
        `rectified`; for frames of length `width`."""
        super().__init__()
        self.lstm = LSTM(width, hidden)
        self.net = dense([hidden, out or hidden], dropout)
        if not rectified:
            self.net = self.net[:1]

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, width), (B, T) -> (B, hidden), zero for a clip without real frames."""
        states: Packed = self.lstm(Packed.of(frames, mask))
        vector: Tensor = self.net(states.last())
        return vector * mask.any(dim=1, keepdim=True)


class SubnetOptions(Protocol):
    """What `embedding_subnets` need of a model's Options."""

    @property
    def text_width(self) -> int:
        """Length of the vector of text."""

    @property
    def audio_width(self) -> int:
        """Length of that of audio."""

    @property
    def vision_width(self) -> int:
        """Length of that of vision."""

    @property
    def depth(self) -> int:
        """Layers of the nets of audio and vision."""

    @property
    def dropout(self) -> float:
        """Share dropped behind every layer; with an `input_norm` of what nets read."""

    @property
    def text_hidden(self) -> int:
        """Units of the LSTM of text; 0: as many as its vector has."""

    @property
    def input_norm(self) -> bool:
        """Whether the subnetworks are the reference toolkit's."""


def embedding_widths(modalities: Sequence[Modality], options: SubnetOptions) -> dict[Modality, int]:
    """Lengths of the vectors z_m of these modalities, in their order."""
    widths: dict[Modality, int] = {
        "text": options.text_width,
        "audio": options.audio_width,
        "vision": options.vision_width,
    }
    return {m: widths[m] for m in modalities}


def embedding_subnets(
    inputs: Mapping[Modality, InputShape], options: SubnetOptions
) -> nn.ModuleDict:
    """The modality embedding subnetworks of TFN: recurrent for text, of the mean for others.

    With an `input_norm` they are those of the reference toolkit: a batch normalisation and dropout
    before each net, with none inside, and behind the LSTM a linear layer alone.
    """
    widths, share, normed = (
        embedding_widths(MODALITIES, options),
        options.dropout,
        options.input_norm,
    )
    subnets = nn.ModuleDict()
    for m in MODALITIES:
        if m in inputs and m == "text":
            size = (inputs[m].width, options.text_hidden or widths[m])
            subnets[m] = RecurrentSubnet(*size, share, widths[m], rectified=not normed)
        elif m in inputs:
            subnets[m] = MeanSubnet(inputs[m].width, widths[m], options.depth, share, normed)
    return subnets


def dense(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers between these widths, each with a ReLU and dropout behind it."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*layers)
