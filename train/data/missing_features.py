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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import LETTERS, Modality
from ..models.shared.interface import Batch, InputShape
from .dataset import Gatherer, Items, Selection
from .live_inputs import Reading
from .standardize import Scaling

MASK_SEED = 111
"""Seed of the masks where none is given."""
STRIDE = 1009
"""Between the seeds of several masks."""
LOW = 2**32 - 1

Special = Literal["keep", "mean", "missing"]
"""What becomes of the first and the last row of cached text; see the file's head."""


@dataclass(frozen=True)
class Case:
    """One way of losing features."""

    kind: str
    """``rate``: frames at random; ``drop``: a whole modality."""
    of: str
    """A modality's letter, or ``all``."""
    rate: float


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


def damaged(
    data: Selection,
    case: Case,
    seed: int = MASK_SEED,
    mask: int = 0,
    special: Special = "missing",
) -> Selection:
    """`data` as `case` leaves it; the same frames are lost whatever batch they are in.

    `mask` counts the masks of one seed; that of 0 is the one that `hidden_frames` gives by `seed`.
    """
    sources: dict[Modality, Gatherer] = {}
    own = seed + mask * STRIDE
    for modality, source in data.sources.items():
        if case.of not in ("all", LETTERS[modality]):
            sources[modality] = source
            continue
        rate = None if case.kind == "drop" else case.rate
        if isinstance(source, Reading):
            sources[modality] = _LossyItems(source, modality, rate, own, "keep")
        else:
            sources[modality] = _Lossy(source, modality, rate, own, special)
    return replace(data, sources=sources)


def undamaged(source: Gatherer) -> Gatherer:
    """A modality as it was before it was `damaged`, if it was."""
    return source.whole if isinstance(source, _Damaged) else source


@dataclass(frozen=True)
class _Damaged:
    """A modality that comes with losses; without a rate, as if no clip had it."""

    whole: Gatherer
    modality: Modality
    rate: float | None
    seed: int
    special: Special

    @property
    def shape(self) -> InputShape:
        return self.whole.shape

    @property
    def length_here(self) -> Tensor:
        return self.whole.length_here

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.whole.present

    @property
    def scaling(self) -> Scaling | None:
        return self.whole.scaling


@dataclass(frozen=True)
class _Lossy(_Damaged):
    """Frames that come with losses."""

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self._lose(index, *self.whole.gather(index, device))

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for index, pair in zip(indices, self.whole.gathers(indices, device), strict=True):
            yield self._lose(index, *pair)

    def _lose(self, index: Tensor, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.rate is None:
            return torch.zeros_like(features), torch.zeros_like(mask)
        rows = index.to(mask.device)
        lost = hidden_frames(mask, rows, self.modality, self.rate, self.seed, self.special)
        return without_hidden(features, mask, lost, self.modality, self.special), mask


@dataclass(frozen=True)
class _LossyItems(_Damaged):
    """What a live encoder reads; the losses are made when it is read.

    Of text the first and the last token stay, and so does what was said before in one pass.
    """

    whole: Reading

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.whole.gather(self._kept(index), device)

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self.whole.gathers([self._kept(index) for index in indices], device)

    def items_of(self, index: Tensor) -> Tensor:
        return self.whole.items_of(self._kept(index))

    def before(self, chain: Sequence[Tensor], device: torch.device) -> Items | None:
        return self.whole.before([self._kept(index) for index in chain], device)

    def gone(self, index: Tensor, device: torch.device) -> Tensor | None:
        if self.rate is None:
            return None
        length = self.length_here[index.clamp(min=0)] * (index >= 0)
        real = torch.arange(max(1, int(length.max()))) < length[:, None]
        lost = hidden_frames(real, index, self.modality, self.rate, self.seed, self.special)
        return lost.to(device)

    def _kept(self, index: Tensor) -> Tensor:
        return torch.full_like(index, -1) if self.rate is None else index


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
