"""Options of MMML (see mmml.py), and its paper's settings by corpus."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ...config import Fraction, Positive
from ..layers.losses import Distance
from .shared.hooks import EncoderRecipe, Recipe
from .shared.utterance import Pick

Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.mmml]; the defaults are the paper's for CMU-MOSI and CMU-MOSEI; `PRESETS` has more."""

    width: Positive | None = None
    """Common width d, a multiple of `heads`; unset: that of the inputs (they must be equal)."""
    layers: Positive = 5
    """Cross-modal encoder layers."""
    heads: Positive = 12
    """Attention heads; the paper has 16 at width 1024."""
    expansion: Positive = 4
    """Inner units of a feed-forward network, times d."""
    self_attention: bool = True
    """Table 8: whether a layer has self attention."""
    feedforward: bool = True
    """Table 8: whether a layer has feed-forward networks."""
    dropout: Fraction = 0.3
    """Share dropped of what a sub-layer adds, of attention weights, and before the heads."""
    variation: Literal["fused", "concatenation", "transformer", "vectors"] = "fused"
    """Section 3.4: [CLS] vectors alone; with the utterance vectors; with a Transformer over fused
    and original frames. `vectors` is Table 3's baseline: utterance vectors, no fusion network."""
    restoring_layers: Positive = 3
    """Transformer layers of that variation; 2 for CH-SIMS."""
    restoring_feedforward: Positive = 2048
    """Width of their feed-forward."""
    restoring_dropout: Fraction = 0.1
    """Share dropped everywhere in them."""
    head: Positive = 768
    """Units of the first hidden layer of the fused head."""
    head_inner: Positive = 512
    """Units of its second hidden layer."""
    text: Pick = "first"
    """The vector of a text: its `first` token, [CLS] or ``<s>``, or the `mean` of all."""
    multi_loss: bool = True
    """Section 3.3: whether each modality has a score and a loss of its own."""
    unimodal_loss: Distance = "l1"
    """Distance of those scores and their labels."""
    unimodal_weight: Weight = 1.0
    """Alpha of the single modalities; the fused score has 1."""
    context: Literal["none", "concatenate", "separate"] = "none"
    """Section 3.5: whether the clips before join the clip's frames, or are fused apart."""
    context_text: Count = 2
    """Clips before of which text is read."""
    context_audio: Count = 1
    """The same for audio (and vision)."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


SMALL = Options(
    width=64, layers=1, heads=4, expansion=2, head=64, head_inner=32, restoring_feedforward=128
)
PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(),
    "sims": Options(restoring_layers=2),
    "frozen": SMALL,
}
"""By corpus, for encoders 768 wide; `frozen` is for frozen features, which 96 million weights would
learn by heart."""


def _recipe(rate: float) -> Recipe:
    return Recipe(
        learning_rate=rate,
        batch_size=16,
        epochs=100,
        patience=8,
        weight_decay=0.01,
        warmup=0.0,
        schedule="constant",
        optimizer="adamw",
        source="MMML, appendix A.1; no limit of epochs is told",
    )


ENCODER = EncoderRecipe(1e-5, 0.01, spare=False, source="MMML, appendix A.1; decay as released")
"""Of text and audio, where they are live: one rate and one decay for every weight."""
RECIPE = _recipe(1e-5)
RECIPES: Mapping[str, Recipe] = {name: _recipe(1e-5) for name in ("mosi", "mosei", "sims")} | {
    "frozen": _recipe(1e-3)
}
