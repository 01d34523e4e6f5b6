"""A whole store as one Zarr group that is read from its parts, nothing copied beforehand.

What `Store.as_zarr` gives: metadata and small arrays lie in Zarr's own store in memory; a chunk of
hidden states is made of the parts' bytes when it is asked for.
"""

from typing import TYPE_CHECKING

import numpy as np
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from ..parts.part import FRAMEWISE, HIDDEN

if TYPE_CHECKING:
    from ..store import Store

FRAMES = 4096
"""Frames of a chunk of hidden states, of one layer."""


class _Entries(dict[str, Buffer]):
    """What lies under Zarr's keys; chunks of hidden states are made when they are looked up."""

    def __init__(self, store: "Store", rows: int) -> None:
        super().__init__()
        self._store, self._rows = store, rows
        self._frames = int(store.frames.sum())

    def add_hidden_chunks(self) -> None:
        """List the keys of all chunks of hidden states."""
        counts = len(self._store.spec.layers), -(-self._frames // self._rows)
        nothing = default_buffer_prototype().buffer.from_bytes(b"")
        for layer, chunk in np.ndindex(counts):
            self[f"{HIDDEN}/c/{layer}/{chunk}/0"] = nothing

    def __getitem__(self, key: str) -> Buffer:
        entry = super().__getitem__(key)
        if not key.startswith(f"{HIDDEN}/c/"):
            return entry
        layer, chunk = (int(number) for number in key.split("/")[2:4])
        first = chunk * self._rows
        frames = self._store.rows(layer, first, min(first + self._rows, self._frames))
        padding = np.zeros((self._rows - len(frames), frames.shape[1]), frames.dtype)
        data = np.concatenate([frames, padding]).tobytes()
        return default_buffer_prototype().buffer.from_bytes(data)


def zarr_view(store: "Store") -> zarr.Group:
    """The read-only group of an opened store."""
    spec, frames = store.spec, int(store.frames.sum())
    # no chunk is empty, nor is it longer than the array: Zarr would read what is not there
    rows = max(1, min(FRAMES, frames))
    entries = _Entries(store, rows)
    attributes = {key: getattr(spec, key) for key in ("modality", "encoder", "weights")}
    group = zarr.create_group(
        MemoryStore(entries),
        attributes=attributes
        | {"fingerprint": spec.fingerprint, "layers": spec.layers, "clips": store.clips},
    )
    group.create_array(
        HIDDEN,
        shape=(len(spec.layers), frames, spec.width),
        dtype=spec.dtype,
        chunks=(1, rows, max(1, spec.width)),
        compressors=None,
        dimension_names=("layer", "frame", "width"),
    )
    entries.add_hidden_chunks()
    clip = np.repeat(np.arange(len(store.clips), dtype=np.int64), store.frames)
    for name, values in {"clip": clip, **{side: store.side(side) for side in FRAMEWISE}}.items():
        group.create_array(name, data=values, chunks=(max(1, frames),), dimension_names=("frame",))
    return zarr.open_group(MemoryStore(entries, read_only=True), mode="r")
