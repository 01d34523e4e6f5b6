"""Options of GLoMo (see glomo.py), and its paper's settings by corpus."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...cache.spec import Modality
from ...config import Fraction, Positive
from ..layers.experts import Mixing
from .shared.hooks import EncoderRecipe, Recipe

Each = Mapping[Modality, Positive]


@dataclass(frozen=True)
class Options:
    """[train.glomo]; the defaults are the paper's for CMU-MOSI, other corpora's are `PRESETS`."""

    width: Positive = 48
    """Common width d; a multiple of `heads`."""
    encoder_layers: Positive = 4
    """Transformer layers over audio and vision."""
    heads: Positive = 16
    """Attention heads of every transformer."""
    bins: Positive | Each = 3
    """Local representations n: of every modality, or a table of numbers by modality (Fig. 3)."""
    experts: Positive | Each = 3
    """Experts s, likewise."""
    chosen: Positive = 2
    """Experts k that speak for a clip; all of a modality's, where it has fewer."""
    balance: float = 0.01
    """Weight omega of the balance terms (Eq. 7)."""
    mixing: Mixing = "linear"
    """Experts' answers: their weighted sum, or the log of their weighted exponentials."""
    text: Literal["token", "sequence"] = "token"
    """Text as in Eq. 1 and 2, or by the same way as audio and vision (CHERMA)."""
    fusion_layers: Positive = 2
    """Transformer layers over the representations (Eq. 8)."""
    fusion_feedforward: Positive = 2048
    """Width of their feed-forward."""
    dropout: Fraction = 0.3
    """In the audio and vision transformers and in ATTN."""
    attention_dropout: Fraction = 0.5
    """Share of attention weights dropped in the audio and vision transformers."""
    embedding_dropout: Fraction = 0.2
    """Share of the same transformers' input dropped."""
    fusion_dropout: Fraction = 0.1
    """Everywhere in the fusion encoder."""
    classes: Positive = 1
    """1: a score; more: that many logits."""
    first_weights: Literal["normal", "pytorch"] = "normal"
    """Of linear layers: N(0, 0.02) and no bias, or PyTorch's own (CHERMA)."""
    local: Literal["experts", "mlp"] = "experts"
    """Table 4, role of MoEs: what makes one vector of the bins."""
    grains: Literal["both", "global", "local"] = "both"
    """Table 4, role of representations."""
    fusion: Literal["guided", "sum", "concatenate", "attention", "multiply"] = "guided"
    """Table 4, role of fusion: what replaces the whole global-guided module."""
    guide: Literal["global", "local", "attention", "mlp"] = "global"
    """Table 4, role of guidance: weights of Eq. 12 from the global (the paper) or local attention
    (ReAt), or in its place an attention or an MLP of its own. With one grain, that one guides."""

    def __post_init__(self) -> None:
        """Raises ValueError for values that do not go together."""
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}.")
        if isinstance(self.experts, int) and self.chosen > self.experts:
            raise ValueError(f"chosen {self.chosen} is more than experts {self.experts}.")

    def of(self, name: Literal["bins", "experts"], modality: Modality) -> int:
        """Bins or experts of a modality; 3, the paper's, for one that a table leaves out."""
        number: int | Each = getattr(self, name)
        return number if isinstance(number, int) else number.get(modality, 3)


PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(width=192, encoder_layers=3),
    "urfunny": Options(width=112, encoder_layers=3, classes=2),
    "mustard": Options(width=160, encoder_layers=3, classes=2),
    "cherma": Options(
        width=256,
        encoder_layers=7,
        classes=7,
        text="sequence",
        first_weights="pytorch",
    ),
}
"""The paper's settings (appendix) by corpus."""


def _recipe(
    rate: float, batch: int, epochs: int, decay: float = 1e-4, drops: tuple[int, ...] = ()
) -> Recipe:
    return Recipe(
        optimizer="adamw",
        drops=drops,
        learning_rate=rate,
        batch_size=batch,
        epochs=epochs,
        weight_decay=decay,
        warmup=0.0,
        schedule="constant",
        source="GLoMo, section 4.5 and appendix; epochs and decay as released",
    )


RECIPES: Mapping[str, Recipe] = {
    "mosi": _recipe(4e-5, 240, 70),
    "mosei": _recipe(1e-5, 64, 100, drops=(81,)),
    "urfunny": _recipe(2e-5, 220, 100, drops=(81,)),
    "mustard": _recipe(2e-5, 64, 5),
    "cherma": _recipe(2e-5, 400, 20, decay=0.0),
}
RECIPE = RECIPES["mosi"]
ENCODERS: Mapping[str, EncoderRecipe] = {
    corpus: EncoderRecipe(recipe.learning_rate, recipe.weight_decay, source=recipe.source)
    for corpus, recipe in RECIPES.items()
}
ENCODER = ENCODERS["mosi"]
"""Of text, where it is live: one rate for encoder and fusion. Its two last layers are
``layers = [-1, -2]``."""
