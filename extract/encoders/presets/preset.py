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


def sizes(width: int, blocks: int, heads: int, inner: int) -> dict[str, Any]:
    """A transformer's sizes as most configurations call them; `inner` of its feed-forward layers.

    >>> sizes(64, 4, 4, 128)["num_hidden_layers"]
    4
    """
    named = {"hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads}
    return named | {"intermediate_size": inner}


TINY = sizes(64, 4, 4, 128)
BASE = sizes(768, 12, 12, 3072)
LARGE = sizes(1024, 24, 16, 4096)
