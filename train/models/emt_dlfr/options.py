"""Options of `emt_dlfr`, and its paper's settings by corpus."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ....config import Fraction, Positive
from ..shared.hooks import EncoderRecipe, Recipe
from ..shared.missing_frames import MASK_SEED, Special
from ..shared.utterance import Pick

NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Options:
    """[train.emt_dlfr]; the defaults are the paper's for CMU-MOSI (Table 3), as released."""

    width: Positive = 128
    """Width d of the transformer; a multiple of `heads`."""
    depth: Positive = 3
    """Layers L of promotion."""
    heads: Positive = 4
    """Attention heads."""
    expansion: Positive = 4
    """Inner units of a feed-forward network, times `width`."""
    fusion: Literal["oagl", "ooll", "oall"] = "oagl"
    """One-to-all global-local (the paper's own), one-to-one or one-to-all local-local."""
    update: Literal["parallel", "serial"] = "parallel"
    """Whether both sides of a unit are promoted by what the other was, or one after the other."""
    pooling: Literal["attention", "average", "mlp"] = "attention"
    """How the promoted contexts of a layer become one."""
    share_mpu: bool = True
    """One set of weights for both directions of a unit."""
    share_modalities: bool = True
    """One unit for all modalities (for all pairs, with `ooll`)."""
    share_layers: bool = True
    """One set of units, and of poolings, for all layers."""
    text: Pick = "first"
    """The utterance vector of a text: its `first` token, [CLS], as in the paper, or the `mean`."""
    audio_hidden: Positive = 32
    """LSTM units for audio."""
    audio_out: Positive = 16
    """Width of audio's local features and utterance vector."""
    vision_hidden: Positive = 64
    """LSTM units for vision."""
    vision_out: Positive = 32
    """Width of vision's local features and utterance vector."""
    head_width: Positive = 256
    """Units of the two hidden layers of the prediction module."""
    embedding_dropout: Fraction = 0.0
    """Share dropped of the local features that enter the transformer."""
    attention_dropout: Fraction = 0.3
    """Share dropped of attention weights."""
    feedforward_dropout: Fraction = 0.1
    """Share dropped after a feed-forward network."""
    encoder_dropout: Fraction = 0.0
    """Share dropped of an LSTM's last output, before it becomes the utterance vector."""
    head_dropout: Fraction = 0.3
    """Share dropped of the prediction module's input."""
    missing_rate: Fraction = 0.0
    """Probability with which a frame is missing, in training and scoring; 0: complete setting."""
    mask_seed: int = MASK_SEED
    """Seed of the masks; it is not the training seed."""
    special_tokens: Special = "keep"
    """[CLS] and [SEP] of an incomplete text: as cached, for the paper does not mask these tokens,
    or the mean of the token states that are left and zero (see `emt_missing`)."""
    dlfr: bool | None = None
    """Dual-level feature restoration; unset: exactly where `missing_rate` is above 0."""
    reconstruction: NotNegative = 1.0
    """Weight lambda_1 of low-level feature reconstruction; 0 leaves its decoders out."""
    attraction: NotNegative = 1.0
    """Weight lambda_2 of high-level feature attraction; 0 leaves the complete view out."""
    simsiam: bool = True
    """Attract through projector and predictor; false: plain cosine similarity (Fig. 11)."""
    predictor_context: Positive = 128
    """Inner units of the predictor of g."""
    predictor_text: Positive = 256
    """Inner units of the predictor of the text utterance vector."""
    predictor_audio: Positive = 8
    """The same for audio."""
    predictor_vision: Positive = 16
    """The same for vision."""
    classes: Annotated[int, Field(ge=0)] = 0
    """Classes to tell apart; 0: a score. Set by the corpus."""
    audio_rate: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of audio's LSTM, times the run's."""
    vision_rate: Annotated[float, Field(gt=0)] = 0.1
    """Learning rate of vision's LSTM, times the run's."""
    audio_decay: NotNegative | None = 1e-2
    """Weight decay of audio's LSTM; unset: the run's."""

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is not a multiple of heads ({self.heads}).")

    @property
    def restores(self) -> bool:
        """Whether DLFR is trained at all."""
        return self.missing_rate > 0 if self.dlfr is None else self.dlfr


_ALIKE: Mapping[str, float | None] = {
    "embedding_dropout": 0.0,
    "attention_dropout": 0.0,
    "feedforward_dropout": 0.0,
    "head_dropout": 0.0,
    "vision_rate": 1.0,
    "audio_decay": None,
}
_SMALL_LSTM: Mapping[str, int] = {"audio_hidden": 16, "vision_hidden": 32}

PRESETS: Mapping[str, Options] = {
    "mosi": Options(),
    "mosei": Options(depth=2, head_width=128, **_SMALL_LSTM, **_ALIKE),  # type: ignore[arg-type]
    "sims": Options(
        width=32,
        depth=4,
        reconstruction=0.5,
        attraction=0.5,
        **_SMALL_LSTM,  # type: ignore[arg-type]
        **_ALIKE,  # type: ignore[arg-type]
    ),
}
"""The paper's settings for each corpus (Table 3); what the table leaves out, as released."""

_PUBLISHED = "EMT-DLFR, Table 3; decay and the lack of a schedule as released"
RECIPES: Mapping[str, Recipe] = {
    corpus: Recipe(
        learning_rate=rate,
        batch_size=batch_size,
        epochs=100,  # the paper sets no end: patience does
        patience=8,
        weight_decay=decay,
        warmup=0.0,
        schedule="constant",
        accumulate=4,
        source=_PUBLISHED,
    )
    for corpus, rate, batch_size, decay in (
        ("mosi", 1e-3, 32, 1e-3),
        ("mosei", 1e-4, 16, 1e-3),
        ("sims", 1e-3, 32, 0.0),
    )
}
RECIPE = RECIPES["mosi"]
ENCODERS: Mapping[str, EncoderRecipe] = {
    corpus: EncoderRecipe(rate, 1e-3, source=_PUBLISHED)
    for corpus, rate in (("mosi", 5e-5), ("mosei", 2e-5), ("sims", 2e-5))
}
ENCODER = ENCODERS["mosi"]
"""Of text, where it is live."""
