"""Inputs that come with several layers, mixed by learned weights; the others pass as they are."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from ...layers.layer_mix import LayerMix
from .interface import InputShape


class LayerMixes(nn.ModuleDict):
    """A `LayerMix` for each modality that needs one."""

    def __init__(self, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`."""
        layers = {m: inputs[m].layers for m in MODALITIES if m in inputs}
        super().__init__({m: LayerMix(count) for m, count in layers.items() if count is not None})

    def mixed(self, m: Modality, features: Tensor) -> Tensor:
        """([batch, layers, frames, width] or without layers) -> (batch, frames, width)."""
        found: Tensor = self[m](features) if m in self else features
        return found

    @property
    def weights(self) -> dict[str, Tensor]:
        """``layers_<modality>`` (layers,) of each, summing to one."""
        return _weights(self)


def layer_weights(encoders: nn.ModuleDict) -> dict[str, Tensor]:
    """The same of encoders that have a `mix` of their own, by modality; it may be None."""
    return _weights({m: encoder.mix for m, encoder in encoders.items()})


def _weights(mixes: Mapping[str, Any] | nn.ModuleDict) -> dict[str, Tensor]:
    return {
        f"layers_{m}": mix.weights.detach() for m, mix in mixes.items() if isinstance(mix, LayerMix)
    }
