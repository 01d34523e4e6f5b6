"""Features that go missing: frames at random by masks frozen for each seed, or whole modalities.

As in TFR-Net (Yuan et al., ACM MM 2021) and EMT-DLFR (arXiv:2208.07589): each real frame is lost
with the missing rate, its features replaced by zeros, while the model is told that it is there. A
frame lost at one rate is lost at every higher one. A modality taken away leaves no frame, as one
that failed in extraction.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import LETTERS, Modality
from ..models.shared.interface import InputShape
from .dataset import Gatherer, Items, Selection
from .live_inputs import Reading
from .standardize import Scaling


@dataclass(frozen=True)
class Case:
    """One way of losing features."""

    kind: str
    """``rate``: frames at random; ``drop``: a whole modality."""
    of: str
    """A modality's letter, or ``all``."""
    rate: float


def damaged(data: Selection, case: Case, seed: int, mask: int = 0) -> Selection:
    """`data` as `case` leaves it; the same frames are lost whatever batch they are in."""
    sources: dict[Modality, Gatherer] = {}
    for modality, source in data.sources.items():
        if case.of not in ("all", LETTERS[modality]):
            sources[modality] = source
        else:
            draws = None if case.kind == "drop" else _draws(source, modality, seed, mask)
            if isinstance(source, Reading):
                sources[modality] = _LossyItems(source, draws, case.rate, modality == "text")
            else:
                sources[modality] = _Lossy(source, draws, case.rate)
    return replace(data, sources=sources)


def undamaged(source: Gatherer) -> Gatherer:
    """A modality as it was before it was `damaged`, if it was."""
    return source.whole if isinstance(source, _Damaged) else source


@dataclass(frozen=True)
class _Damaged:
    """A modality that comes with losses; without `draws`, as if no clip had it."""

    whole: Gatherer
    draws: Tensor | None
    """(clips, frames) uniform numbers: a frame is lost at every rate above its own."""
    rate: float

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
        if self.draws is None:
            return torch.zeros_like(features), torch.zeros_like(mask)
        lost = self.draws[index.clamp(min=0), : mask.shape[1]].to(mask.device) < self.rate
        if features.dim() == 4:  # layers share their losses
            return features.masked_fill(lost[:, None, :, None], 0), mask
        return features.masked_fill(lost.unsqueeze(2), 0), mask


@dataclass(frozen=True)
class _LossyItems(_Damaged):
    """What a live encoder reads; the losses are made when it is read.

    Of text the first and the last token stay, and so does what was said before in one pass.
    """

    whole: Reading
    text: bool

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
        if self.draws is None:
            return None
        length = self.length_here[index.clamp(min=0)] * (index >= 0)
        steps = torch.arange(max(1, int(length.max())))
        lost = self.draws[index.clamp(min=0), : len(steps)] < self.rate
        if self.text:
            lost &= (steps > 0) & (steps < length[:, None] - 1)
        return lost.to(device)

    def _kept(self, index: Tensor) -> Tensor:
        return torch.full_like(index, -1) if self.draws is None else index


def _draws(source: Gatherer, modality: Modality, seed: int, mask: int) -> Tensor:
    text = f"{seed}:missing:{modality}:{mask}"
    digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest))
    frames = max(1, int(source.length_here.max()))
    return torch.rand(len(source.length_here), frames, generator=generator)
