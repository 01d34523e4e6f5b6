"""A feature store as a ``torch.utils.data.Dataset``, for training loops of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ...cache.store.store import Store, open_store


class StoreDataset(Dataset[dict[str, Any]]):
    """The clips of a store, each read from disk when it is asked for.

    An item has ``id``, ``values`` (layers, frames, width), ``times`` (frames,) in seconds and
    ``valid`` (frames,), True = real. Worker processes open the store anew.
    """

    def __init__(
        self,
        path: str | Path,
        layers: Sequence[int | str] = (-1,),
        clips: Sequence[str] | None = None,
    ) -> None:
        """`clips`: these alone, in this order. Raises StoreError as `open_store` does."""
        self._path, self._layers = Path(path), tuple(layers)
        self._store: Store | None = open_store(path)
        self._store.spec.positions(self._layers)  # a layer that is not stored is told at once
        self.clips = tuple(self._store.clips if clips is None else clips)
        self._store.offsets(self.clips)  # and so is a clip

    def __len__(self) -> int:
        """Clips."""
        return len(self.clips)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One clip."""
        store, ids = self._opened(), [self.clips[number]]
        return {
            "id": ids[0],
            "values": torch.from_numpy(store.read(list(self._layers), ids).values.copy()),
            "times": torch.from_numpy(store.side("times", ids).copy()),
            "valid": torch.from_numpy(store.side("valid", ids).astype(bool)),
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but the opened store, which does not travel."""
        return vars(self) | {"_store": None}

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._path)
        return self._store


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: ``values`` (clips, layers, frames, width) and ``mask`` (clips, frames), padded.

    Give it to a DataLoader as ``collate_fn``.
    """
    values: list[Tensor] = [item["values"].transpose(0, 1) for item in items]
    return {
        "id": [item["id"] for item in items],
        "values": pad_sequence(values, batch_first=True).transpose(1, 2),
        "mask": pad_sequence([item["valid"] for item in items], batch_first=True),
    }
