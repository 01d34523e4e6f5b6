"""Features that go missing: the one protocol by which every model is trained and scored.

As in TFR-Net (Yuan et al., ACM MM 2021) and EMT-DLFR (arXiv:2208.07589, sections 3.1 and 5.1): each
real frame is lost with the missing rate, one for all modalities; its features become zeros (that is
under standardised inputs the mean), while the model is told that it is there. Whether it is lost
follows from the mask seed, the modality, the clip's row in the corpus table and the frame's place
alone: masks need no memory, are the same in every epoch, run, model and training seed, and what is
lost at one rate is lost at every higher one. A modality taken away leaves no frame, as one that
failed in extraction.

Text is where cached features cannot do what the papers did. They replace tokens by [UNK] *before*
the text encoder, and never [CLS] and [SEP], the first and the last row. A live encoder is fed so.
Of cached text the hidden states of lost tokens are zeroed *after* the encoder, and every state that
is left has read the whole sentence, [CLS] most of all. What becomes of its first and last row is
therefore an explicit choice, `Special`, which every table of scores states:

- ``missing``: they are lost as any other, so that at rate 1 nothing of the words is left;
- ``mean``: the first becomes the mean of the states that are left (zero if none is), the last zero;
- ``keep``: as published; the words are never wholly gone, not even at rate 1.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from ....cache.spec import Modality
from .interface import Batch

MASK_SEED = 111
"""Seed of the masks where none is given."""
LOW = 2**32 - 1

Special = Literal["keep", "mean", "missing"]
"""What becomes of the first and the last row of cached text; see the file's head."""


def hidden_frames(
    mask: Tensor,
    index: Tensor,
    modality: Modality,
    rate: float,
    seed: int = MASK_SEED,
    special: Special = "keep",
) -> Tensor:
    """(batch, frames) bool: the real frames that are missing at `rate`, from 0 to 1.

    `mask` is (batch, frames), `index` (batch,) the clips' rows in the corpus table. A clip's first
    and last real rows of text are its special tokens, and missing as others if `special` says
    ``missing`` alone. Raises ValueError if `rate` is no share.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"missing rate {rate}: a share from 0 to 1 is needed.")
    digest = hashlib.blake2b(f"missing:{seed}:{modality}".encode(), digest_size=4).digest()
    clip = _stirred(_stirred(index & LOW) ^ int.from_bytes(digest))
    position = torch.arange(mask.shape[1], device=mask.device)
    draws = _stirred((clip.unsqueeze(1) + 0x9E3779B9 * position) & LOW)  # uniform in 0..2^32 - 1
    hidden = mask & (draws < round(rate * 2**32))
    if modality == "text" and special != "missing":
        hidden &= ~(_first(mask) | _last(mask))
    return hidden


def without_hidden(
    features: Tensor, mask: Tensor, hidden: Tensor, modality: Modality, special: Special = "keep"
) -> Tensor:
    """`features` ([batch, layers, frames, width] or without layers) with zeros at `hidden` frames.

    `special` says what becomes of [CLS] and [SEP] of a text; see the file's head. Frames that are
    not real may have any value in the result.
    """
    layered = features.dim() == 4
    shown = features.masked_fill(_wide(hidden, layered), 0)
    if modality == "text" and special == "mean":
        first, last = _first(mask), _last(mask)
        left = mask & ~hidden & ~first & ~last
        count = left.sum(dim=1).clamp(min=1).view(-1, *[1] * (features.dim() - 1))
        kept = shown.masked_fill(_wide(~left, layered), 0)
        mean = kept.sum(dim=-2, keepdim=True) / count
        shown = torch.where(_wide(first, layered), mean, shown)
        shown = shown.masked_fill(_wide(last & ~first, layered), 0)
    return shown


def incomplete(
    batch: Batch, rate: float, seed: int = MASK_SEED, special: Special = "keep"
) -> Batch:
    """`batch` as it is seen at a missing rate; masks stay, for a hidden frame is still a frame."""
    features, gone = dict[Modality, Tensor](), dict[Modality, Tensor]()
    for modality, values in batch.features.items():
        mask = batch.masks[modality]
        if modality in batch.live:  # it is lost as it is read: words are [UNK] by then
            features[modality] = values
            gone[modality] = hidden_frames(mask, batch.index, modality, rate, seed, "keep")
        else:
            hidden = hidden_frames(mask, batch.index, modality, rate, seed, special)
            features[modality] = without_hidden(values, mask, hidden, modality, special)
    before = tuple(incomplete(one, rate, seed, special) for one in batch.previous)
    return replace(batch, features=features, gone=gone, previous=before)


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


@contextmanager
def without_own_masking(model: object) -> Iterator[None]:
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


def _stirred(numbers: Tensor) -> Tensor:
    """Numbers of 0..2^32 - 1 mapped one to one onto the same range, neighbours far apart.

    Two rounds of xor-shift and multiply; both factors are below 2^31, so that no product leaves
    int64.
    """
    numbers = numbers ^ (numbers >> 16)
    numbers = (numbers * 0x21F0AAAD) & LOW
    numbers = numbers ^ (numbers >> 15)
    numbers = (numbers * 0x735A2D97) & LOW
    return numbers ^ (numbers >> 15)


def _wide(frames: Tensor, layered: bool) -> Tensor:
    """(batch, frames) so that it stretches over a feature axis and, where there is one, layers."""
    return frames[:, None, :, None] if layered else frames[:, :, None]


def _first(mask: Tensor) -> Tensor:
    """(batch, frames) bool: the first real frame of each clip that has one."""
    return mask & (mask.cumsum(dim=1) == 1)


def _last(mask: Tensor) -> Tensor:
    return mask & (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True))
