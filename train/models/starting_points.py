"""How models are set and trained where nobody says: on cached layers, and with live encoders.

The papers' values are each model's own (Options and RECIPE, by preset). Most were found with a text
encoder that is fine-tuned along, and for as many epochs as patience lets; a pipeline gets them by
naming a preset. Without one it starts from here: what learns on cached layers (a vector of frozen
text is pooled, for its first token says little before it is trained), and, where an encoder is
live, few epochs, warm-up, clipping, decay beside the gradient and a rate that suits the encoder.

Pooling and GLoMo's rate were compared on a text corpus of 2,199 clips with frozen layers (MAE of
Self-MM 1.11 -> 0.945, MMIM 1.04 -> 0.906, GLoMo 0.946 -> 0.894). Values beside live encoders are
what is usual for BERT-like ones; they have not been tuned. Keys of [train] and of a model's own
table go before all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...cache.spec import Modality


@dataclass(frozen=True)
class Start:
    """Values that go before a model's own where no preset is named."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """By field of its Options."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """By field of `Recipe`."""


FROZEN: Mapping[str, Start] = {
    "self_mm": Start({"text": "mean"}, {"accumulate": 1, "clip_norm": 1.0}),
    "mmim": Start({"text": "mean"}, {"accumulate": 1}),
    "mmml": Start(
        {
            "text": "mean",
            "width": 64,
            "layers": 1,
            "heads": 4,
            "expansion": 2,
            "head": 64,
            "head_inner": 32,
            "restoring_feedforward": 128,
        },
        {"learning_rate": 1e-3},
    ),
    "glomo": Start({}, {"learning_rate": 5e-4, "batch_size": 64, "patience": 8}),
}
"""On cached layers alone, by model; others start from their papers' values."""
FEW_EPOCHS: Mapping[str, Any] = {
    "epochs": 8,
    "patience": 3,
    "batch_size": 16,
    "accumulate": 1,
    "warmup": 0.1,
    "schedule": "cosine",
    "clip_norm": 1.0,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "drops": (),
}
"""Any model's recipe where an encoder is live."""
LIVE_RATES: Mapping[str, float] = {
    "uegd": 5e-4,
    "glomo": 1e-4,
    "mmml": 1e-4,
    "misa": 2e-4,
    "tfr_net": 2e-4,
}
"""Of the model's own weights beside a live encoder; others keep their frozen rate, at most 1e-3."""
MOST_LIVE_RATE = 1e-3


def frozen(model: str, text_live: bool) -> Start:
    """Where `model` starts on cached layers; options of live text are the paper's."""
    found = FROZEN.get(model, Start())
    return Start({}, found.recipe) if text_live else found


def live(model: str, frozen_rate: float) -> Start:
    """Where `model` starts beside a live encoder; `frozen_rate` is its rate without one."""
    rate = LIVE_RATES.get(model, min(frozen_rate, MOST_LIVE_RATE))
    return Start({}, {**FEW_EPOCHS, "learning_rate": rate})


def encoder_rate(modality: Modality, width: int) -> float:
    """Peak rate of a live encoder's weights, by what is usual for its kind: speech encoders and
    large text encoders want small steps, narrow ones large.

    >>> encoder_rate("text", 384), encoder_rate("text", 768), encoder_rate("text", 1024)
    (5e-05, 3e-05, 1e-05)
    """
    if modality != "text":
        return 1e-5
    return 5e-5 if width < 768 else 3e-5 if width < 1024 else 1e-5
