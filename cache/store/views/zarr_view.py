"""A whole store as one Zarr group that is read from its parts, nothing copied beforehand.

What `Store.as_zarr` gives: the chunks of the group are made of the parts' bytes when they are asked
for, by Zarr's own interface of stores, so that zarr-python and xarray read it as any other.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype

from ..parts.part import FRAMEWISE, HIDDEN

if TYPE_CHECKING:
    from ..store import Store

FRAMES = 4096
"""Frames of a chunk of hidden states, of one layer."""


@dataclass(frozen=True)
class _Array:
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    names: tuple[str, ...]
    """Of its axes, by which xarray lines arrays up."""
    whole: NDArray[Any] | None = None
    """Its values, if it is small; None: read from the parts."""

    def metadata(self) -> dict[str, Any]:
        """Of the array, as Zarr v3 has it."""
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape,
            "data_type": self.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": False if self.dtype == "bool" else 0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "dimension_names": self.names,
            "attributes": {},
        }


class ZarrView(ZarrStore):
    """The store's arrays under Zarr's keys; cannot be written."""

    supports_writes = False
    supports_partial_writes = False  # zarr 3.1.0 asks for it, and for set_partial_values
    supports_deletes = False
    supports_listing = True

    def __init__(self, store: "Store") -> None:
        """Of an opened store."""
        super().__init__(read_only=True)
        self._store = store
        frames, spec = int(store.frames.sum()), store.spec
        # no chunk is empty, nor is it longer than the array: Zarr would read what is not there
        rows = max(1, min(FRAMES, frames))
        hidden = (len(spec.layers), frames, spec.width)
        clip = np.repeat(np.arange(len(store.clips), dtype=np.int64), store.frames)
        small = {"clip": clip, **{name: store.side(name) for name in FRAMEWISE}}
        self._arrays: Mapping[str, _Array] = {
            HIDDEN: _Array(
                spec.dtype, hidden, (1, rows, max(1, spec.width)), ("layer", "frame", "width")
            ),
            **{
                name: _Array(values.dtype.name, values.shape, (max(1, frames),), ("frame",), values)
                for name, values in small.items()
            },
        }

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of one key, or a range of them; None where there is no such key."""
        data = self._bytes(key)
        if data is None:
            return None
        match byte_range:
            case RangeByteRequest(start, end):
                data = data[start:end]
            case OffsetByteRequest(offset):
                data = data[offset:]
            case SuffixByteRequest(suffix):
                data = data[-suffix:] if suffix else b""
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """`get` of several."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._keys

    async def list(self) -> AsyncIterator[str]:
        """Every key."""
        for key in self._keys:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """The keys that begin so."""
        for key in self._keys:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What lies directly in this folder."""
        place = f"{prefix.rstrip('/')}/" if prefix else ""
        inside = (key.removeprefix(place) for key in self._keys if key.startswith(place))
        for name in dict.fromkeys(key.partition("/")[0] for key in inside):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refused: a store is written by its writer alone."""
        raise ValueError("a feature store is read-only here")

    async def set_partial_values(self, key_start_values: Any) -> None:
        """Refused."""
        raise ValueError("a feature store is read-only here")

    async def delete(self, key: str) -> None:
        """Refused."""
        raise ValueError("a feature store is read-only here")

    def __eq__(self, other: object) -> bool:
        """Whether it is a view of the same store."""
        return isinstance(other, ZarrView) and other._store is self._store

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _keys(self) -> dict[str, None]:
        keys = dict.fromkeys(["zarr.json"])
        for name, array in self._arrays.items():
            keys[f"{name}/zarr.json"] = None
            counts = [-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]
            for place in np.ndindex(*counts):
                keys[f"{name}/c/{'/'.join(map(str, place))}"] = None
        return keys

    def _bytes(self, key: str) -> bytes | None:
        if key not in self._keys:
            return None
        if key == "zarr.json":
            return json.dumps(self._group()).encode()
        name, _, rest = key.partition("/")
        array = self._arrays[name]
        if rest == "zarr.json":
            return json.dumps(array.metadata()).encode()
        if array.whole is not None:
            return np.ascontiguousarray(array.whole).tobytes()
        layer, chunk = (int(number) for number in rest.split("/")[1:3])
        first, rows = chunk * array.chunks[1], array.chunks[1]
        found = self._store.rows(layer, first, min(first + rows, array.shape[1]))
        padding = np.zeros((rows - len(found), array.shape[2]), found.dtype)
        return np.concatenate([found, padding]).tobytes()

    def _group(self) -> dict[str, Any]:
        spec = self._store.spec
        attributes = {
            "clips": self._store.clips,
            "layers": spec.layers,
            "modality": spec.modality,
            "encoder": spec.encoder,
            "weights": spec.weights,
            "fingerprint": spec.fingerprint,
        }
        return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
