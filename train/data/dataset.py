"""The chosen layers in memory as flat arrays; a batch is a gather, with no work per clip.

All clips' frames of one modality lie one after the other in one array (layers, N, width) on the
device. A batch of clips is one `index_select` with the row numbers first[clip] + 0, 1, …, padded
to the longest clip of the batch, and a mask of the frames that are real.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import MODALITIES, SPLITS, Modality, Split
from ...errors import RunError
from ..models.shared.interface import Batch
from .gatherer import Gatherer
from .live_inputs import Reading
from .table import Table as Table


def joined(values: NDArray[np.floating], weighted: bool) -> Tensor:
    """(layers, N, width) as it is, or (1, N, layers * width) for layers that are not mixed."""
    owned = torch.from_numpy(values)
    if weighted or len(owned) == 1:
        return owned
    layers, frames, width = owned.shape
    return owned.transpose(0, 1).reshape(1, frames, layers * width)


@dataclass(frozen=True, kw_only=True)
class Source(Gatherer):
    """One modality in memory; `scaling` is already in `values` if these are float32."""

    values: Tensor
    """(layers, N, width): one layer, or those of a weighted input."""
    valid: Tensor
    """(N,) bool: False where the frame shows no face."""
    first: Tensor
    """(clips,) int64: row of each clip's first frame, on the device of `values`."""
    length: Tensor
    """`length_here` on the device of `values`."""
    blank: int | None = None
    """A row of `values` that is all zeros, behind the N frames, if there is one."""

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """One `index_select` for all clips, padded to the longest of them."""
        frames = max(1, int(self.lengths(index).max()))
        layers, _, width = self.values.shape
        here = (index >= 0).to(self.values.device)
        index = index.clamp(min=0).to(self.values.device)
        steps = torch.arange(frames, device=self.values.device)
        rows = (self.first[index].unsqueeze(1) + steps).clamp_(max=len(self.valid) - 1)
        mask = (steps < (self.length[index] * here).unsqueeze(1)) & self.valid[rows]
        if self.blank is not None:  # what is masked is gathered as zero: nothing is left to do
            rows = rows.where(mask, self.blank)
        picked = self.values.index_select(1, rows.flatten())
        if self.values.dtype != torch.float32:
            picked = picked.float()
            if self.scaling is not None:
                self.scaling.apply_(picked)
        features = picked.view(layers, len(index), frames, width)
        if self.blank is None:
            features.mul_(mask[:, :, None])
        chosen = features[0] if self.shape.layers is None else features.transpose(0, 1)
        return chosen.to(device), mask.to(device)


@dataclass(frozen=True)
class Corpus:
    """Labelled clips and the features of every modality that any run needs; read once."""

    table: Table
    sources: Mapping[Modality, Gatherer]
    labels: Tensor
    """(clips, …): `Table.learned`, float32 where it is float64; on the device."""
    targets: Mapping[Modality, Tensor] = field(default_factory=dict)
    """(clips,) float32, on the device."""

    def select(self, modalities: Sequence[Modality]) -> "Selection":
        """What a run on `modalities` sees.

        A training clip that has features of none of them is left out; validation and test clips
        always stay, so that every run is scored on the same clips. Raises RunError if no
        training clip is left.
        """
        sources = {m: self.sources[m] for m in MODALITIES if m in modalities}
        anything = np.logical_or.reduce([s.present for s in sources.values()])
        rows: dict[Split, Tensor] = {}
        coverage: dict[Split, Mapping[str, int]] = {}
        for split in SPLITS:
            all_rows = self.table.rows(split)
            kept = all_rows[anything[all_rows]] if split == "train" else all_rows
            rows[split] = torch.from_numpy(kept)
            coverage[split] = {
                "clips": len(kept),
                **{m: int(s.present[kept].sum()) for m, s in sources.items()},
                "unlabelled": self.table.unlabelled[split],
                "without_features": int((~anything[all_rows]).sum()),
            }
        if not len(rows["train"]):
            raise RunError(
                f"No training clip has features of {' or '.join(sources)}. "
                "`sedimental extract` makes them; failures.csv in each store says what failed."
            )
        return Selection(self.table, sources, self.labels, self.targets, rows, coverage)


@dataclass(frozen=True)
class Selection(Corpus):
    """The corpus as one run sees it: some modalities, and the clips of each split."""

    rows: Mapping[Split, Tensor] = field(default_factory=dict)
    """(clips,) int64 row numbers in the table; training clips without any feature left out."""
    coverage: Mapping[Split, Mapping[str, int]] = field(default_factory=dict)

    def batch(self, index: Tensor, previous: int = 0) -> Batch:
        """The clips of the table's rows `index` (CPU int64), and the `previous` ones before each.

        A row of -1 is a clip without any frame (its label is another's).
        """
        parts = {m: s.gather(index, self.labels.device) for m, s in self.sources.items()}
        return self._made(index, parts, previous)

    def batches(self, indices: Sequence[Tensor], previous: int = 0) -> Iterator[Batch]:
        """`batch` of each of `indices` in turn."""
        names = tuple(self.sources)
        found = [s.gathers(indices, self.labels.device) for s in self.sources.values()]
        for index, *parts in zip(indices, *found, strict=True):
            yield self._made(index, dict(zip(names, parts, strict=True)), previous)

    def _made(
        self, index: Tensor, parts: Mapping[Modality, tuple[Tensor, Tensor]], previous: int
    ) -> Batch:
        device = self.labels.device
        there = index.to(device)
        live = {m: s for m, s in self.sources.items() if isinstance(s, Reading)}
        gone = {m: s.gone(index, device) for m, s in live.items()}
        words = {m: s.words_of(index, device) for m, s in live.items()}
        return Batch(
            features={m: features for m, (features, _) in parts.items()},
            masks={m: mask for m, (_, mask) in parts.items()},
            labels=self.labels[there],
            index=there,
            targets={m: values[there] for m, values in self.targets.items()},
            previous=tuple(self._earlier(index, k, previous) for k in range(previous)),
            live={m: s.items_of(index) for m, s in live.items()},
            gone={m: lost for m, lost in gone.items() if lost is not None},
            words={m: numbers for m, numbers in words.items() if numbers is not None},
        )

    def _earlier(self, index: Tensor, step: int, steps: int) -> Batch:
        """The clips `step` + 1 before; what is read in one pass over all `steps` is the first's."""
        batch = self.batch(self._before(index, step))
        chain = [self._before(index, k) for k in range(steps)]
        chain = chain if step == 0 else [torch.full_like(index, -1)]
        for m, source in self.sources.items():
            if isinstance(source, Reading) and (own := source.before(chain, self.labels.device)):
                items, mask, sizes = own
                batch = replace(
                    batch,
                    features={**batch.features, m: items},
                    masks={**batch.masks, m: mask},
                    live={**batch.live, m: sizes},
                )
        return batch

    def _before(self, index: Tensor, step: int) -> Tensor:
        """Rows of the clips `step` + 1 before those of `index`; -1 where there is none."""
        known = self.table.previous
        if known is None or step >= known.shape[1]:
            return torch.full_like(index, -1)
        return torch.from_numpy(known[index.numpy(), step])

    def lengths(self, index: Tensor) -> Tensor:
        """(clips,) frames of each clip, summed over modalities."""
        return torch.stack([s.length_here[index] for s in self.sources.values()]).sum(dim=0)
