"""One encoder with a name of its own, and the sizes that many of them share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....cache.spec import Modality
from .families import FAMILIES


@dataclass(frozen=True)
class Preset:
    """An encoder with a name of its own."""

    family: str
    hub: str | None
    """Repository on the Hub; None: random weights only, or no weights at all."""
    config: Mapping[str, Any]
    """Architecture, as fields of the family's configuration class."""
    processing: Mapping[str, Any] = field(default_factory=dict)
    """What the checkpoint's processor does, where the family does not say: `mean` and `std` of
    pixels, `normalize` and `native_rate` of sound, `script` of words."""

    @property
    def modality(self) -> Modality:
        """What it reads."""
        return FAMILIES[self.family].modality

    @property
    def network(self) -> bool:
        """Whether it has weights to load or to draw."""
        return FAMILIES[self.family].config is not None

    @property
    def weights(self) -> str:
        """Default of `weights`."""
        return "none" if not self.network else "hub" if self.hub else "random:0"


TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
