"""How models are set and trained where nobody says: on cached layers, and with live encoders.

The papers' values are each model's own (Options and RECIPE, by preset). Most were found with a text
encoder that is fine-tuned along, and for as many epochs as patience lets; a pipeline gets them by
naming a preset. Without one it starts from here.

On cached layers a linear probe is hard to beat, and what beats it is much the same for all models:
a vector of frozen text is pooled (its first token says little before it is trained), every batch is
a step, weights decay beside the gradient, and the rate falls to zero within a few hundred steps,
whatever the corpus's size (`epochs_for`). Where an encoder is live: few epochs, warm-up, clipping,
decay beside the gradient and a rate that suits the encoder. docs/real.md has what was measured.

Keys of [train] and of a model's own table go before all of them.
"""

import math
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


STEADY: Mapping[str, Any] = {
    "learning_rate": 5e-4,
    "batch_size": 32,
    "accumulate": 1,
    "patience": None,
    "optimizer": "adamw",
    "weight_decay": 3.0,
    "warmup": 0.1,
    "schedule": "cosine",
    "drops": (),
}
"""Any model's recipe on cached layers. A weight shrinks by rate times decay in a step, over a run
by half: less changes nothing in so few steps."""
STEPS = 500
"""That a frozen run takes at least, as far as `MOST_EPOCHS` let it."""
FEWEST_EPOCHS, MOST_EPOCHS = 6, 60


def _frozen(options: Mapping[str, Any] | None = None, **recipe: Any) -> Start:
    return Start(options or {}, {**STEADY, **recipe})


POOLED: Mapping[str, Any] = {"text": "mean"}
FROZEN: Mapping[str, Start] = {
    "uegd": _frozen(weight_decay=0.1, clip_norm=1.0),
    "emt_dlfr": _frozen(POOLED, weight_decay=0.1, clip_norm=1.0),
    "glomo": _frozen({"text": "sequence"}),
    "sugrm": _frozen({"labels_from": 6}, learning_rate=1e-3),
    "mmml": _frozen(
        {
            **POOLED,
            "width": 64,
            "layers": 1,
            "heads": 4,
            "expansion": 2,
            "head": 64,
            "head_inner": 32,
            "restoring_feedforward": 128,
        },
        learning_rate=1e-3,
    ),
    "ef_lstm": _frozen(learning_rate=1e-3, clip_norm=1.0),
    "lf_dnn": _frozen(clip_norm=1.0),
    "tfn": _frozen(clip_norm=1.0),
    "lmf": _frozen(learning_rate=1e-3, clip_norm=1.0),
    "mult": _frozen(learning_rate=1e-3, clip_norm=1.0),
    "misa": _frozen(learning_rate=1e-4, weight_decay=0.1, loss="l1", clip_norm=1.0),
    "self_mm": _frozen(POOLED, learning_rate=1e-3, weight_decay=0.1, clip_norm=1.0),
    "mmim": _frozen(POOLED, clip_norm=1.0),
    "tfr_net": _frozen(learning_rate=1e-3, clip_norm=1.0),
}
"""On cached layers, by model; those that packages add start from their own values."""
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
LIVE_RATES: Mapping[str, float] = {"glomo": 1e-4, "mmml": 1e-4, "misa": 2e-4, "tfr_net": 2e-4}
"""Of the model's own weights beside a live encoder; others keep their frozen rate, at most 1e-3."""
MOST_LIVE_RATE = 1e-3


def frozen(model: str, text_live: bool, clips: int = 0) -> Start:
    """Where `model` starts on cached layers of so many training `clips` (0: not known); options of
    live text are the paper's."""
    found = FROZEN.get(model)
    if found is None:
        return Start()
    epochs = {"epochs": epochs_for(clips, found.recipe["batch_size"])}
    return Start({} if text_live else found.options, {**found.recipe, **epochs})


def epochs_for(clips: int, batch_size: int) -> int:
    """Passes over so many clips that make `STEPS` steps.

    >>> epochs_for(160, 32), epochs_for(1284, 32), epochs_for(9989, 32)
    (60, 13, 6)
    """
    steps = math.ceil(clips / batch_size)
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(STEPS / max(1, steps))))


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
