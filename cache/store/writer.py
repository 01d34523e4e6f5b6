"""How features get into a store: in immutable parts, each safe on disk before `add` returns."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreError
from ..spec import FeatureSpec, Scalar
from . import index
from .atomic_write import clear_stale, explained, replace
from .clip_features import ClipFeatures, check, overflow
from .part_builder import building
from .parts.formats import FORMATS, stem
from .parts.part import HIDDEN, STATISTICS, Array, Head
from .reference_features import check_probe
from .remove import foreign_files
from .sealed_json import COMPLETE, STORE, read_record, record
from .statistics import layer_statistics

__all__ = ["ClipFeatures", "StoreWriter"]

THREADS = min(4, os.cpu_count() or 1)


class StoreWriter:
    """Adds parts to one store. Any number of writers may do so at once, on any machines."""

    path: Path
    spec: FeatureSpec

    def __init__(self, path: Path, spec: FeatureSpec, format: Literal["zarr", "hdf5"]) -> None:
        """Use `create`, which sees to it that the store is there."""
        if format not in FORMATS:
            raise StoreError(f"{path}: no format {format!r}. Choose one of {', '.join(FORMATS)}.")
        self.path, self.spec = path, spec
        self._suffix = FORMATS[format].SUFFIX
        self._manifest = index.new_manifest(path)
        self.recorded: Mapping[str, Scalar] = {}
        """What the store on disk has recorded of how it was made."""

    @classmethod
    def create(
        cls, corpus_folder: Path, spec: FeatureSpec, format: Literal["zarr", "hdf5"] = "zarr"
    ) -> "StoreWriter":
        """A writer to the store of this spec below `corpus_folder`; makes the store if need be.

        Raises StoreError if the folder is another store's, no store's, or not writable;
        NewerStoreError or CorruptStoreError if the store there cannot be understood.
        """
        path = Path(corpus_folder) / spec.folder_name
        writer = cls(path, spec, format)
        with explained(path):
            clear_stale(path)
            clear_stale(path.parent)
            if not (path / STORE).exists():
                if path.is_dir() and (foreign := next(foreign_files(path), None)):
                    raise StoreError(
                        f"{path}: holds {foreign} and is no feature store; nothing was changed. "
                        "Move the folder away or choose another cache.root in pipeline.toml."
                    )
                replace(path / STORE, record("store", {"spec": spec.to_json()}))
        found = FeatureSpec.from_json(read_record("store", path / STORE)["spec"])
        if found.fingerprint != spec.fingerprint:
            raise StoreError(
                f"{path}: holds features of fingerprint {found.fingerprint}, not "
                f"{spec.fingerprint}. Use another cache.root in pipeline.toml for one of the two."
            )
        writer.recorded = found.recorded
        return writer

    def present(self) -> Mapping[str, str]:
        """The clips in all parts now on disk, each with the digest of its source."""
        return index.held(index.read_parts(self.path, self.spec.fingerprint))

    def note(self, values: Mapping[str, Scalar]) -> None:
        """Record more of how the features are made, beside what changes them, in the store."""
        self.recorded = {**self.recorded, **values}
        self.spec = dataclasses.replace(self.spec, recorded={**self.spec.recorded, **values})
        stated = dataclasses.replace(self.spec, recorded=self.recorded)
        with explained(self.path / STORE):
            replace(self.path / STORE, record("store", {"spec": stated.to_json()}))

    def probe(self, values: NDArray[Any]) -> str:
        """Keep, or compare with those kept, the features (layers, frames, width) of a fixed input.

        Returns a warning if they differ beyond rounding, else "".
        """
        return check_probe(self.path, values)

    def add(self, clips: Sequence[ClipFeatures]) -> Path:
        """Write one part; on return its clips are safe, even if the machine loses power.

        Needs the memory of a few layers beside the clips. Raises OverflowInStoreError naming clip
        and layer, and StoreError for a full disk, a folder that cannot be written, or clips that do
        not fit the store. Nothing is left behind then.
        """
        check(self.path, self.spec, clips)
        layers, width = len(self.spec.layers), self.spec.width
        flat = {
            name: np.concatenate([clip.framewise[name] for clip in clips])
            for name in clips[0].framewise
        }
        valid = flat["valid"]
        mean, spread = np.empty((2, layers, width), np.float32)
        largest = np.empty(layers, np.float32)
        flat |= dict(zip(STATISTICS, (mean, spread, largest), strict=True))
        arrays = {HIDDEN: Array(self.spec.dtype, (layers, len(valid), width))} | {
            name: Array(array.dtype.name, array.shape) for name, array in flat.items()
        }
        path = self.path / (index.new_part(self.path) + self._suffix)
        threads = min(THREADS, layers)
        spare = list(np.empty((threads, len(valid), width), self.spec.dtype))
        with building(path, self._manifest, arrays) as part:

            def write_layer(layer: int) -> str:
                rows = spare.pop()  # used again: fresh memory costs as much as writing it
                values = [clip.values[layer] for clip in clips]
                try:
                    with np.errstate(over="ignore", invalid="ignore"):  # seen in `largest`
                        np.concatenate(values, out=rows, casting="same_kind")
                        mean[layer], spread[layer], largest[layer] = layer_statistics(rows, valid)
                    if not largest[layer] <= np.finfo(rows.dtype).max:
                        raise overflow(self.path, self.spec, clips, layer)
                    return part.write(HIDDEN, rows, layer)
                finally:
                    spare.append(rows)

            with ThreadPoolExecutor(threads) as pool:
                digests = {HIDDEN: tuple(pool.map(write_layer, range(layers)))}
            digests |= {name: (part.write(name, array),) for name, array in flat.items()}
            part.describe(
                Head(
                    fingerprint=self.spec.fingerprint,
                    clips=tuple(clip.id for clip in clips),
                    sources=tuple(clip.source for clip in clips),
                    frames=tuple(len(clip.valid) for clip in clips),
                    arrays=arrays,
                    digests=digests,
                    spec=self.spec.to_json(),
                )
            )
        return path

    def finish(self, planned: Mapping[str, str], failures: Mapping[str, str]) -> bool:
        """Record the `failures` (clip -> reason), and whether the store now covers the plan.

        It does if each `planned` clip is held, as made from the planned source, or has failed.
        Returns that. A part added or lost afterwards makes the store incomplete again.
        """
        parts = index.read_parts(self.path, self.spec.fingerprint)
        here = index.held(parts)
        complete = all(here.get(c) == s or c in failures for c, s in planned.items())
        body = {
            "complete": complete,
            "parts": sorted({stem(part.name) for part in parts}),
            "failures": dict(failures),
        }
        with explained(self.path / COMPLETE):
            replace(self.path / COMPLETE, record("completion", body))
        return complete
