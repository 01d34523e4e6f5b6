"""The chosen layers in memory as flat arrays; a batch is a gather, with no work per clip.

All clips' frames of one modality lie one after the other in one array (layers, N, width) on the
device. A batch of clips is one `index_select` with the row numbers first[clip] + 0, 1, …, padded
to the longest clip of the batch, and a mask of the frames that are real.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache.errors import RunError
from ..cache.manifest import Manifest
from ..cache.spec import MODALITIES, SPLITS, Modality, Split
from .models.base import Batch, InputShape
from .scaling import Scaling


@dataclass(frozen=True)
class Table:
    """The labelled clips of a corpus, in manifest order: what can be trained on and scored."""

    ids: tuple[str, ...]
    splits: tuple[Split, ...]
    labels: NDArray[np.float64]
    unlabelled: Mapping[Split, int]
    """Clips left out because they have no label."""

    @classmethod
    def of(cls, manifest: Manifest) -> "Table":
        """Raises RunError if a split has no labelled clip."""
        clips = [(c.id, c.split, c.label) for c in manifest.clips if c.label is not None]
        unlabelled = {s: sum(c.label is None for c in manifest.split(s)) for s in SPLITS}
        for split in SPLITS:
            if not any(s == split for _, s, _ in clips):
                raise RunError(
                    f"{manifest.corpus}: the {split} split has no labelled clip "
                    f"({unlabelled[split]} without a label). Training needs train, valid and test "
                    "clips: add them to the corpus table, then `sedimental extract`."
                )
        ids, splits, labels = zip(*clips, strict=True)
        return cls(ids, splits, np.array(labels, dtype=np.float64), unlabelled)

    def rows(self, split: Split) -> NDArray[np.int64]:
        """Row numbers of one split's clips."""
        return np.flatnonzero(np.array(self.splits) == split)


@dataclass(frozen=True)
class Source:
    """One modality in memory; rows of `first` and `length` are rows of the table."""

    shape: InputShape
    values: Tensor
    """(layers, N, width): one layer, or those of a weighted input."""
    valid: Tensor
    """(N,) bool: False where the frame shows no face."""
    first: Tensor
    """(clips,) int64: row of each clip's first frame, on the device of `values`."""
    length: Tensor
    """(clips,) int64: its frames, 0 if it has none of this modality; on the device of `values`."""
    length_here: Tensor
    """The same on the CPU: how far to pad a batch is asked without waiting for the device."""
    present: NDArray[np.bool_]
    """(clips,): whether any frame of the clip is real."""
    scaling: Scaling | None
    """The scaling of this input; already in `values` if these are float32."""

    def gather(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Features ([batch, layers, frames, width] or without layers) and masks (batch, frames)
        of the clips `index` (CPU), on `device`; padded and invalid frames are zero."""
        frames = max(1, int(self.length_here[index].max()))
        layers, total, width = self.values.shape
        index = index.to(self.values.device)
        steps = torch.arange(frames, device=self.values.device)
        rows = (self.first[index].unsqueeze(1) + steps).clamp_(max=total - 1)
        mask = (steps < self.length[index].unsqueeze(1)) & self.valid[rows]
        picked = self.values.index_select(1, rows.flatten())
        if self.values.dtype != torch.float32:
            picked = picked.float()
            if self.scaling is not None:
                self.scaling.apply_(picked)
        features = picked.view(layers, len(index), frames, width).mul_(mask[:, :, None])
        chosen = features[0] if self.shape.layers is None else features.transpose(0, 1)
        return chosen.to(device), mask.to(device)


@dataclass(frozen=True)
class Selection:
    """The corpus as one run sees it: some modalities, and the clips of each split."""

    table: Table
    sources: Mapping[Modality, Source]
    rows: Mapping[Split, Tensor]
    """(clips,) int64 row numbers in the table; training clips without any feature left out."""
    coverage: Mapping[Split, Mapping[str, int]]
    labels: Tensor
    """(all clips of the table,) float32, on the device."""

    def batch(self, index: Tensor) -> Batch:
        """The clips of the table's rows `index` (CPU int64)."""
        device = self.labels.device
        parts = {m: source.gather(index, device) for m, source in self.sources.items()}
        there = index.to(device)
        return Batch(
            features={m: features for m, (features, _) in parts.items()},
            masks={m: mask for m, (_, mask) in parts.items()},
            labels=self.labels[there],
            index=there,
        )

    def lengths(self, index: Tensor) -> Tensor:
        """(clips,) frames of each clip, summed over modalities."""
        return torch.stack([s.length_here[index] for s in self.sources.values()]).sum(dim=0)


@dataclass(frozen=True)
class Corpus:
    """Labelled clips and the features of every modality that any run needs; read once."""

    table: Table
    sources: Mapping[Modality, Source]
    labels: Tensor

    def select(self, modalities: Sequence[Modality]) -> Selection:
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
        return Selection(self.table, sources, rows, coverage, self.labels)
