"""Selections with missing features: frames at random by the protocol of
`models.shared.missing_frames`, or a whole modality, as if it had failed in extraction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import LETTERS, Modality
from ..models.shared.interface import InputShape
from ..models.shared.missing_frames import MASK_SEED as MASK_SEED
from ..models.shared.missing_frames import Special as Special
from ..models.shared.missing_frames import hidden_frames, without_hidden
from .dataset import Gatherer, Items, Selection
from .live_inputs import Reading
from .standardize import Scaling

STRIDE = 1009
"""Between the seeds of several masks."""


@dataclass(frozen=True)
class MissingCase:
    """One way of losing features."""

    kind: str
    """``rate``: frames at random; ``drop``: a whole modality."""
    of: str
    """A modality's letter, or ``all``."""
    rate: float


def damaged(
    data: Selection,
    case: MissingCase,
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

    def words_of(self, index: Tensor, device: torch.device) -> Tensor | None:
        return self.whole.words_of(self._kept(index), device)

    def _kept(self, index: Tensor) -> Tensor:
        return torch.full_like(index, -1) if self.rate is None else index
