"""Layers too large for memory: each batch's frames come from the store, some batches ahead.

Batches are those of training from memory, clip for clip in the same order, so that shuffling
reaches across all parts of the store; what is held at a time is `AHEAD` + 1 batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.store.store import Ragged, Store
from .dataset import Source, joined
from .gatherer import Gatherer

AHEAD = 3
"""Batches read while one is worked on."""


@dataclass(frozen=True, kw_only=True)
class Streamed(Gatherer):
    """One modality on disk; used like `Source`."""

    store: Store
    layers: tuple[str, ...]
    ids: tuple[str, ...]
    """Clips of the table, in its order."""
    valid: NDArray[np.bool_]
    """(N,) in the order of the store."""
    first: NDArray[np.int64]
    """(clips,) each clip's first frame in `valid`."""

    def gathers(
        self, indices: Sequence[Tensor], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`gather` of each of `indices` in turn, read ahead of being asked for."""
        wanted = [self._held(index) for index in indices]
        names = [[self.ids[row] for row in rows] for rows in wanted]
        read = self.store.batches(list(self.layers), names, ahead=AHEAD)
        for index, rows, ragged in zip(indices, wanted, read, strict=True):
            yield self._source(ragged, rows, device).gather(_positions(index, rows), device)

    def _held(self, index: Tensor) -> list[int]:
        """Rows among `index` that have frames, each once."""
        return list(dict.fromkeys(index[self.lengths(index) > 0].tolist()))

    def _source(self, ragged: Ragged, rows: list[int], device: torch.device) -> Source:
        """The clips `rows` alone, scaled, on `device`."""
        values = joined(ragged.values, self.shape.layers is not None).to(device).float()
        if self.scaling is not None:
            values = self.scaling.apply_(values)
        if not rows:  # one frame that no mask lets through, so that a gather has something to take
            values = values.new_zeros(len(values), 1, values.shape[2])
        lengths = np.diff(ragged.offsets)
        begins = np.repeat(self.first[rows] - ragged.offsets[:-1], lengths)
        valid = self.valid[begins + np.arange(lengths.sum())] if rows else np.zeros(1, bool)
        # the last row stands for every clip without frames
        first = np.append(ragged.offsets[:-1], 0)
        length = np.append(lengths, 0)
        return Source(
            shape=self.shape,
            values=values,
            valid=torch.from_numpy(valid).to(device),
            first=torch.from_numpy(first).to(device),
            length=torch.from_numpy(length).to(device),
            length_here=torch.from_numpy(length),
            present=length > 0,
        )


def _positions(index: Tensor, rows: list[int]) -> Tensor:
    """Position of each row of `index` among `rows`; that after the last for all others."""
    place = {row: position for position, row in enumerate(rows)}
    return torch.tensor([place.get(row, len(rows)) for row in index.tolist()], dtype=torch.int64)


def free_memory() -> int:
    """Bytes that this process may still take, as far as the system tells."""
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = (line.split() for line in meminfo.read_text().splitlines())
        found += [1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.is_file() and (most := limit.read_text().strip()).isdigit():
        found.append(int(most) - int(used.read_text()))
    return max(0, min(found)) if found else 2**33


def fitting(sizes: Mapping[str, int], budget: int) -> set[str]:
    """Those of `sizes` (bytes by name) that go into `budget` together, the smallest first.

    >>> sorted(fitting({"audio": 70, "text": 20, "vision": 30}, 60))
    ['text', 'vision']
    """
    kept = set()
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        if size <= budget:
            kept.add(name)
            budget -= size
    return kept
