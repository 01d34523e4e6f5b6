"""Models that hide frames by themselves, because they learn to restore what is missing.

What goes missing, and what becomes of it, is the protocol of `train.data.missing_features`, for
these models as for all others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....cache.spec import Modality
from ...data.dataset import Selection
from ...data.missing_features import MASK_SEED as MASK_SEED
from ...data.missing_features import Special as Special
from ...data.missing_features import hidden_frames as hidden_frames
from ...data.missing_features import incomplete as incomplete
from ...data.missing_features import without_hidden as without_hidden
from ...fit.loop import Scores, predict
from ...live_model import LiveModel
from .hooks import Contextual
from .interface import Batch, FusionModel, Output


@runtime_checkable
class HidesFrames(Protocol):
    """A model that hides frames by itself, because it was trained on what is missing."""

    missing_rate: float
    mask_seed: int
    special_tokens: Special


def incomplete_view(
    model: HidesFrames,
    batch: Batch,
    modality: Modality,
    mix: Callable[[Tensor], Tensor],
    whole: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One modality as `model` sees it at its own rate, and which of its frames are missing.

    (batch, frames, width) after `mix`, which makes one layer of several, and (batch, frames) bool.
    What a live encoder reads is read again, with [UNK] for what is gone. `whole` is what `mix` has
    made of the complete features, where that is known already.
    """
    mask = batch.masks[modality]
    special: Special = "keep" if modality in batch.reread else model.special_tokens
    gone = hidden_frames(mask, batch.index, modality, model.missing_rate, model.mask_seed, special)
    if modality in batch.reread:
        return mix(batch.reread[modality](gone)), gone
    whole = mix(batch.features[modality]) if whole is None else whole
    return without_hidden(whole, mask, gone, modality, special), gone


def restored_error(guess: Tensor, truth: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Smooth L1 distance of missing frames (n, width), the mean over all values of the whole batch.

    `total` sums over the processes that share it (`hooks.AcrossClips`). Zero where none is missing.
    """
    distance = functional.smooth_l1_loss(guess, truth, reduction="sum")
    count = total(distance.new_full((), truth.numel()))
    return total(distance) / count.clamp(min=1)


def told_of_missing(rate: float, modalities: Sequence[Modality]) -> dict[str, Tensor]:
    """What `outputs` says of frames that go missing at `rate`; nothing at 0.

    ``missing_rate``, and ``text_states_zeroed`` = 1, which means that masked text is zeroed hidden
    states of an encoder that had read them, not [UNK] tokens, and no number to set beside the
    papers'.
    """
    if not rate:
        return {}
    zeroed = {"text_states_zeroed": torch.ones(())} if "text" in modalities else {}
    return {"missing_rate": torch.tensor(rate), **zeroed}


def predict_at_rates(
    model: FusionModel,
    data: Selection,
    rows: Tensor,
    rates: Sequence[float],
    seed: int | None = None,
    special: Special | None = None,
) -> dict[float, Scores]:
    """What a trained `model`, any of ours, says of the clips `rows` at each missing rate.

    `seed` and `special` are by default those the model was trained with, or `MASK_SEED` and
    ``keep``. The model's own rate plays no part here and is untouched afterwards. The papers'
    curves show one model *a rate*, trained at it: call this once a model with its own rate for
    those, and with all rates for what one model loses as data go missing.
    """
    bare = model.fusion if isinstance(model, LiveModel) else model
    own = bare if isinstance(bare, HidesFrames) else None
    seed = seed if seed is not None else own.mask_seed if own else MASK_SEED
    special = special or (own.special_tokens if own else "keep")
    with nothing_of_its_own(own):
        return {rate: predict(_AtRate(model, rate, seed, special), data, rows) for rate in rates}


class _AtRate(nn.Module):
    """`model` behind a filter that hides frames."""

    def __init__(self, model: FusionModel, rate: float, seed: int, special: Special) -> None:
        super().__init__()
        self.model, self.rate, self.seed, self.special = model, rate, seed, special
        if isinstance(model, Contextual):
            self.previous_clips = model.previous_clips

    def forward(self, batch: Batch) -> Output:
        return self.model(incomplete(batch, self.rate, self.seed, self.special))

    def outputs(self) -> Mapping[str, Tensor]:
        return self.model.outputs()


@contextmanager
def nothing_of_its_own(model: object) -> Iterator[None]:
    """`model`, any of ours, hides nothing within, and what it hid before afterwards."""
    if not isinstance(model, HidesFrames):
        yield
        return
    before = model.missing_rate
    model.missing_rate = 0.0
    try:
        yield
    finally:
        model.missing_rate = before
