"""Selections with missing features: frames at random by the protocol of
`models.shared.missing_frames`, or a whole modality, as if it had failed in extraction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...cache.spec import LETTERS, Modality
from ..models.shared.missing_frames import MASK_SEED as MASK_SEED
from ..models.shared.missing_frames import Special as Special
from ..models.shared.missing_frames import hidden_frames, without_hidden
from .dataset import Selection
from .gatherer import Gatherer
from .live_inputs import Reading

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
    own = seed + mask * STRIDE
    rate = None if case.kind == "drop" else case.rate

    def lossy(modality: Modality, source: Gatherer) -> Gatherer:
        if case.of not in ("all", LETTERS[modality]):
            return source
        if isinstance(source, Reading):
            return replace(source, loss=(rate, own))
        return _Lossy(
            shape=source.shape,
            length_here=source.length_here,
            present=source.present,
            scaling=source.scaling,
            whole=source,
            modality=modality,
            rate=rate,
            seed=own,
            special=special,
        )

    return replace(data, sources={m: lossy(m, source) for m, source in data.sources.items()})


def undamaged(source: Gatherer) -> Gatherer:
    """A modality as it was before it was `damaged`, if it was."""
    if isinstance(source, Reading):
        return replace(source, loss=None)
    return source.whole if isinstance(source, _Lossy) else source


@dataclass(frozen=True, kw_only=True)
class _Lossy(Gatherer):
    """Frames that come with losses; without a rate, as if no clip had any."""

    whole: Gatherer
    modality: Modality
    rate: float | None
    seed: int
    special: Special

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        found = self.whole.gathers(indices, device)
        for index, (features, mask) in zip(indices, found, strict=True):
            if self.rate is None:
                yield torch.zeros_like(features), torch.zeros_like(mask)
                continue
            rows = index.to(mask.device)
            lost = hidden_frames(mask, rows, self.modality, self.rate, self.seed, self.special)
            yield without_hidden(features, mask, lost, self.modality, self.special), mask
