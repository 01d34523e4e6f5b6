"""How features come out of a store: whole layers, chosen clips, minibatches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import IncompleteStoreError, MissingClipError, StoreError, StoreNotFoundError
from ..spec import FeatureSpec
from . import index
from .atomic_write import TEMPORARY
from .parts.formats import format_of, stem
from .parts.part import FRAMEWISE, HIDDEN, STATISTICS, Part
from .ragged import Ragged, Statistics, pooled
from .read_ranges import Longs, Stretches, bytes_of, fill, read_range
from .sealed_json import COMPLETE, STORE, read_record
from .statistics import statistics

if TYPE_CHECKING:
    import h5py
    import zarr

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Makes the buffer that is read into: numpy's, or one a device copies from without staging."""
Layers = Sequence[int | str]

__all__ = ["Ragged", "Statistics", "Store", "list_stores", "open_store"]


def open_store(
    path: str | Path, allow_partial: bool = False, allocate: Allocate = np.empty
) -> "Store":
    """Open the store at `path` for reading.

    `allocate` makes every buffer of features, e.g. in pinned memory:
    ``lambda shape, dtype: torch.empty(shape, dtype=torch.float16, pin_memory=True).numpy()``.
    Raises StoreNotFoundError, CorruptStoreError, NewerStoreError, and, unless `allow_partial`,
    IncompleteStoreError. A store that is being written stays as it was when it was opened.
    """
    path = Path(path)
    try:
        spec = FeatureSpec.from_json(read_record("store", path / STORE)["spec"])
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFoundError(
            f"{path}: no feature store here ({STORE} is missing). `sedimental extract` makes one, "
            "`sedimental cache ls` lists those there are."
        ) from None
    try:
        completion = read_record("completion", path / COMPLETE)
    except FileNotFoundError:
        completion = {"complete": False, "parts": [], "failures": {}}
    parts = index.read_parts(path, spec.fingerprint)
    missing = _missing(path, completion, parts)
    if missing and not allow_partial:
        raise IncompleteStoreError(
            f"{path}: {missing}. `sedimental extract` completes it; "
            "allow_partial=True reads what is there."
        )
    return Store(path, spec, parts, completion["failures"], not missing, allocate)


def list_stores(root: Path) -> tuple[Path, ...]:
    """Folders of all stores below a cache root, sorted."""
    found = (file.parent for file in root.glob(f"*/*/{STORE}"))
    # one of a hidden name is under removal
    return tuple(sorted(path for path in found if not path.name.startswith(TEMPORARY)))


def _missing(path: Path, completion: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """Why the store is not complete; empty if it is."""
    recorded, here = set(completion["parts"]), {stem(part.name) for part in parts}
    if lost := sorted(recorded - here):
        return f"{len(lost)} of its {len(recorded)} parts are gone ({path / lost[0]})"
    if not completion["complete"]:
        return "its extraction has not finished"
    if added := here - recorded:
        return f"{len(added)} parts were added by an extraction that has not finished"
    return ""


class Store:
    """One encoder's features of one corpus, as they were when the store was opened."""

    path: Path
    spec: FeatureSpec
    clips: tuple[str, ...]
    """Ids held: parts by age, then order in the part; of a clip written twice the newest counts."""
    frames: NDArray[np.int64]
    """(clips,) frames of each clip."""
    sources: Mapping[str, str]
    """Clip -> digest of what its features were made from."""
    failures: Mapping[str, str]
    """Clip -> why it has no features, as the last finished extraction recorded."""
    complete: bool

    def __init__(
        self,
        path: Path,
        spec: FeatureSpec,
        parts: Sequence[Part],
        failures: Mapping[str, str],
        complete: bool,
        allocate: Allocate,
    ) -> None:
        """Use `open_store`."""
        self.path, self.spec, self.failures, self.complete = path, spec, failures, complete
        self._parts, self._allocate = tuple(parts), allocate
        chosen = sorted(index.winners(parts).items(), key=lambda item: item[1])
        self.clips = tuple(clip for clip, _ in chosen)
        self.sources = {clip: parts[p].head.sources[k] for clip, (p, k) in chosen}
        self._rank = {clip: rank for rank, clip in enumerate(self.clips)}
        self._part = np.array([p for _, (p, _) in chosen], dtype=np.int64)
        within = np.array([k for _, (_, k) in chosen], dtype=np.int64)
        # the frames of all parts end to end, to look up each clip's without a loop over clips
        counts = np.array([n for part in parts for n in part.head.frames], dtype=np.int64)
        first = np.cumsum([0, *(len(part.head.clips) for part in parts)], dtype=np.int64)
        begins = np.cumsum(counts) - counts
        at = first[self._part] + within
        self.frames = counts[at]
        self._begin = begins[at] - begins[first[self._part]]
        self._lengths = np.array([sum(part.head.frames) for part in parts], dtype=np.int64)
        self._files: dict[tuple[int, str], Path] = {}

    def __repr__(self) -> str:
        """Which encoder's it is, and how much it holds."""
        spec, frames = self.spec, int(self.frames.sum())
        held = f"{len(self.clips)} clips, {frames} frames, {len(spec.layers)} layers"
        return f"Store({spec.modality} {spec.encoder}: {held})"

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of all parts."""
        return sum(part.nbytes for part in self._parts)

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats of its parts: usually one."""
        return tuple(sorted({format_of(part.name) for part in self._parts}))

    @property
    def sides(self) -> tuple[str, ...]:
        """Names that `side` takes."""
        own = (HIDDEN, *STATISTICS)
        names = self._parts[0].head.arrays if self._parts else FRAMEWISE
        return tuple(name for name in names if name not in own)

    @property
    def part_count(self) -> int:
        """Number of parts on disk."""
        return len(self._parts)

    def layer(self, layer: int | str) -> Ragged:
        """One layer of every clip: values (1, frames of all clips, width)."""
        return self.layers([layer])

    def layers(self, layers: Layers | None = None) -> Ragged:
        """Some layers (None: all stored) of every clip, in the order asked."""
        return self._read(layers, None)

    def read(self, layers: Layers | None, clips: Sequence[str]) -> Ragged:
        """Some layers (None: all stored) of exactly these clips, in this order.

        Raises MissingClipError naming the first clip that is not held, StoreError for a layer that
        is not stored, CorruptStoreError for a file that is too short.
        """
        return self._read(layers, self._ranks(clips))

    def side(self, name: str, clips: Sequence[str] | None = None) -> NDArray[Any]:
        """A side array of all clips (None) or of exactly these: (frames of all clips, …).

        ``times``, ``durations`` and ``valid`` are always there, the others are in `sides`. Frames
        lie as in a Ragged of the same clips. Raises StoreError if a part lacks it.
        """
        ranks = None if clips is None else self._ranks(clips)
        stretches = self._stretches(ranks)
        used = [self._parts[p] for p in np.unique(stretches.part)] or self._parts[:1]
        known = ", ".join(self.sides)
        for part in used:
            if name not in part.head.arrays or name in (HIDDEN, *STATISTICS):
                raise StoreError(f"{self.path / part.name}: no side array {name!r}. Here: {known}.")
        kind = used[0].head.arrays[name] if used else None
        shape = kind.shape[1:] if kind else ()
        count = int(stretches.frames.sum())
        out = np.empty((count, *shape), kind.dtype if kind else np.float32)
        self._fill(out, name, np.zeros(1, np.int64), stretches)
        return out

    def offsets(self, clips: Sequence[str] | None = None) -> NDArray[np.int64]:
        """Where each clip's frames begin in what `side` returns for the same `clips`."""
        return self._offsets(None if clips is None else self._ranks(clips))

    def parts(self, layers: Layers | None = None, ahead: int = 1) -> Iterator[Ragged]:
        """Every clip once, a part at a time in store order, in the memory of `ahead` + 1 parts."""
        first = np.flatnonzero(np.diff(self._part, prepend=-1))
        return self._ahead(layers, np.split(np.arange(len(self.clips)), first[1:]), ahead)

    def batches(
        self, layers: Layers | None, batches: Sequence[Sequence[str]], ahead: int = 2
    ) -> Iterator[Ragged]:
        """`read` for each batch of clips in turn, `ahead` batches before they are asked for."""
        return self._ahead(layers, [self._ranks(batch) for batch in batches], ahead)

    def weighted(
        self,
        weights: Sequence[float] | NDArray[Any],
        batches: Sequence[Sequence[str]],
        layers: Layers | None = None,
    ) -> Iterator[Ragged]:
        """For each batch of clips the sum of its layers under `weights`, one layer of float32."""
        return (batch.mixed(weights) for batch in self.batches(layers, batches))

    def stats(self) -> Statistics:
        """Statistics of every stored entry over all clips held, from those kept with the parts."""
        shares = []
        for p, part in enumerate(self._parts):
            ranks = np.flatnonzero(self._part == p)
            valid = self.side("valid", [self.clips[rank] for rank in ranks])
            if len(ranks) == len(part.head.clips):
                mean, std, absmax = (self._whole(part, name) for name in STATISTICS)
            elif len(ranks):  # some clips were written again: what is kept counts their old frames
                mean, std, absmax = statistics(self._read(None, ranks).values, valid)
            else:
                continue
            shares.append((int(valid.sum()), mean, std, absmax))
        return pooled((len(self.spec.layers), self.spec.width), shares)

    def rows(self, layer: int, first: int, last: int) -> NDArray[Any]:
        """(last - first, width) of the stored entry at position `layer`, from all clips' frames."""
        shape = (1, last - first, self.spec.width)
        values: NDArray[Any] = self._allocate(shape, np.dtype(self.spec.dtype))
        wanted = self._all.between(first, last)
        self._fill(values, HIDDEN, np.array([layer], dtype=np.int64), wanted)
        return values.reshape(shape[1:])

    def stretches(self, layer: int) -> Iterator[tuple[Path, int, int]]:
        """Where the bytes of the stored entry at position `layer` lie, all clips' frames in order:
        file, offset and length of each stretch."""
        row = np.dtype(self.spec.dtype).itemsize * self.spec.width
        for part, begin, frames in zip(*(column.tolist() for column in self._all), strict=True):
            start = self._parts[part].places[HIDDEN].offset + layer * int(self._lengths[part]) * row
            yield self._file(part, HIDDEN).resolve(), start + begin * row, frames * row

    def as_zarr(self) -> "zarr.Group":
        """The whole store as a read-only Zarr group, for zarr-python and ``xarray.open_zarr``.

        ``hidden`` (layer, frame, width) is read from the parts, a chunk when it is asked for;
        ``clip`` (frame,) numbers the clip of each frame in the attribute ``clips``; ``times``,
        ``durations`` and ``valid`` (frame,) are as in `side`.
        """
        from .views.zarr_view import zarr_view

        return zarr_view(self)

    def as_h5py(self) -> "h5py.File":
        """The whole store as an HDF5 file in memory, whose datasets are the parts' own bytes.

        ``hidden/<layer>`` (frames, width) of all clips in order, ``offsets`` (clips + 1,) of the
        first frame of each of ``clips``, and ``times``, ``durations`` and ``valid`` (frames,).
        """
        from .views.hdf5_view import open_view

        return open_view(self)

    def _ranks(self, clips: Sequence[str]) -> Longs:
        try:
            return np.array([self._rank[clip] for clip in clips], dtype=np.int64)
        except KeyError as missing:
            clip = missing.args[0]
            why = self.failures.get(clip)
            reason = f" It failed: {why}." if why else ""
            raise MissingClipError(
                f"{self.path}: no features of clip {clip!r}.{reason} `sedimental extract` adds "
                "what is missing and tries failed clips again."
            ) from None

    def _offsets(self, ranks: Longs | None) -> NDArray[np.int64]:
        frames = self.frames if ranks is None else self.frames[ranks]
        return np.concatenate([[0], np.cumsum(frames)]).astype(np.int64)

    def _stretches(self, ranks: Longs | None) -> Stretches:
        """Where the frames of these clips lie; None: of all, whose neighbours are found once."""
        if ranks is None:
            return self._all
        return Stretches(self._part[ranks], self._begin[ranks], self.frames[ranks])

    @cached_property
    def _all(self) -> Stretches:
        """Of all clips, as few stretches as there can be."""
        part, begin, frames = self._part, self._begin, self.frames
        new = (np.diff(part) != 0) | (begin[1:] != begin[:-1] + frames[:-1])
        first = np.flatnonzero(np.concatenate([[True] if len(part) else [], new]))
        return Stretches(part[first], begin[first], np.add.reduceat(frames, first))

    def _read(self, layers: Layers | None, ranks: Longs | None) -> Ragged:
        asked = np.array(self.spec.positions(self.spec.layers if layers is None else layers))
        offsets = self._offsets(ranks)
        shape = (len(asked), int(offsets[-1]), self.spec.width)
        values = self._allocate(shape, np.dtype(self.spec.dtype))
        self._fill(values, HIDDEN, asked.astype(np.int64), self._stretches(ranks))
        clips = self.clips if ranks is None else tuple(self.clips[r] for r in ranks)
        return Ragged(values, offsets, clips)

    def _fill(self, out: NDArray[Any], name: str, layers: Longs, wanted: Stretches) -> None:
        """Read rows of array `name` into `out`: for each of `layers` the frames `wanted`."""
        used, file = np.unique(wanted.part, return_inverse=True)
        parts = [self._parts[p] for p in used]
        row = out.itemsize * int(np.prod(out.shape[(2 if name == HIDDEN else 1) :]))
        base = np.array([part.places[name].offset for part in parts], dtype=np.int64)
        stride = self._lengths[used] * row
        start = base[file] + wanted.begin * row + layers[:, None] * stride[file]
        fill(
            bytes_of(out),
            [self._file(p, name) for p in used.tolist()],
            np.broadcast_to(file, start.shape).reshape(-1),
            start.reshape(-1),
            np.broadcast_to(wanted.frames * row, start.shape).reshape(-1),
        )

    def _file(self, part: int, name: str) -> Path:
        """The file of an array of a part; pathlib takes longer to join a path than it is read."""
        found = self._files.get((part, name))
        if found is None:
            found = self._files[part, name] = self._parts[part].file(self.path, name)
        return found

    def _whole(self, part: Part, name: str) -> NDArray[Any]:
        array, place = part.head.arrays[name], part.places[name]
        data = read_range(part.file(self.path, name), place.offset, array.nbytes)
        return data.view(array.dtype).reshape(array.shape)

    def _ahead(
        self, layers: Layers | None, batches: Sequence[Longs], ahead: int
    ) -> Iterator[Ragged]:
        with ThreadPoolExecutor(1, thread_name_prefix="sedimental-ahead") as thread:
            waiting: list[Future[Ragged]] = []
            try:
                for batch in batches:
                    waiting.append(thread.submit(self._read, layers, batch))
                    if len(waiting) > ahead:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
