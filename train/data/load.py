"""From stores to memory: the chosen layers read once, scaled, and placed where batches are made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...cache.spec import Modality
from ...cache.store.store import Ragged
from ...errors import StoreError
from ..models.shared.interface import InputShape
from .dataset import Corpus, Source, Table, joined
from .gatherer import Gatherer
from .inputs import Input
from .live_inputs import LiveInput, Reading, shape_of
from .standardize import Running, Scaling, measure
from .streaming import Streamed, fitting, free_memory

WIDEN_BELOW = 2**30
"""An input of at most this many bytes as float32 is kept so, scaled once; a larger one keeps the
stored dtype and is cast and scaled batch by batch. A model sees the same numbers either way."""
Wanted = str | Scaling
"""How to scale an input: ``none``, ``standardize`` by its training frames, or as found before."""
SPARE = 0.2
"""Share of a GPU's free memory left to the model; an input that does not fit stays with the CPU."""


HELD = 0.5
"""Share of the free memory that layers may take where `train.memory_mb` is unset."""


def load(
    table: Table,
    inputs: Sequence[Input | LiveInput],
    scaling: str | Mapping[Modality, Wanted],
    device: torch.device,
    memory_mb: int | None = None,
) -> Corpus:
    """Read `inputs` into memory; `scaling` is ``none`` or ``standardize``, from training frames, or
    how a trained run scales, modality by modality (not at all where it names none).

    Together they take `memory_mb` megabytes (10^6 bytes) at most, by default half of what is free;
    an input that does not fit is read batch by batch. Raises StoreError if a store holds no
    features, which for a trained run are merely missing.
    """
    for one in inputs:
        if isinstance(scaling, str) and not one.store.frames.sum():
            raise StoreError(
                f"{one.store.path}: no clip has {one.modality} features. "
                "`sedimental extract` says why and tries again."
            )
    budget = int(HELD * free_memory()) if memory_mb is None else 10**6 * memory_mb
    held = fitting({one.modality: bytes_of(one) for one in inputs}, budget)
    sources: dict[Modality, Gatherer] = {}
    for one in inputs:
        live = None if isinstance(one, Input) else one
        how = scaling if isinstance(scaling, str) else scaling.get(one.modality, "none")
        own: Wanted = "none" if live else how
        mixed = one.record.weighted and live is None
        if not one.store.frames.sum():
            source: Source | Streamed = arrange(table, *_nothing(one), mixed, own, device)
        elif one.modality in held:
            ragged, valid = one.store.layers(list(one.layers)), one.store.side("valid")
            source = arrange(table, ragged, valid, mixed, own, device)
        else:
            source = streamed(table, one, one.store.side("valid"), own, device, mixed)
        if isinstance(one, Input) and one.align:
            source = replace(source, shape=replace(source.shape, aligned=True))
        sources[one.modality] = reading(table, live, source, how, device) if live else source
    learned = table.learned
    labels = learned.astype(np.float32) if learned.dtype == np.float64 else learned
    return Corpus(
        table=table,
        sources=sources,
        labels=torch.from_numpy(labels).to(device),
        targets={
            m: torch.from_numpy(values.astype(np.float32)).to(device)
            for m, values in table.targets.items()
        },
    )


def arrange(
    table: Table,
    ragged: Ragged,
    valid: NDArray[np.bool_],
    weighted: bool,
    scaling: Wanted,
    device: torch.device,
) -> Source:
    """Line one modality up with the clips of `table`; takes over the array of `ragged`."""
    first, length = lined_up(table, ragged.clips, ragged.offsets)
    stacked = 1 if weighted else len(ragged.values)
    values = joined(ragged.values, weighted)
    scale = scaling if isinstance(scaling, Scaling) else None
    if scaling == "standardize":
        scale = measure(values, torch.from_numpy(training_frames(table, first, length, valid)))
    values, blank = _widened(values, scale)
    home = _home(values, device)
    return Source(
        shape=InputShape(values.shape[2], len(values) if weighted else None, stacked),
        values=values.to(home),
        valid=torch.from_numpy(valid.astype(bool)).to(home),
        first=torch.from_numpy(first).to(home),
        length=torch.from_numpy(length).to(home),
        length_here=torch.from_numpy(length),
        present=_any_valid(first, length, valid),
        scaling=None if scale is None else scale.to(home),
        blank=blank,
    )


def reading(
    table: Table, one: LiveInput, rows: Gatherer, scaling: Wanted, device: torch.device
) -> Reading:
    """The items of a live modality, lined up with the clips of `table`.

    Under ``standardize`` its frames are normed one by one: `Reading.normed`.
    """
    place = {clip: position for position, clip in enumerate(one.store.clips)}
    own = one.sizes()
    sizes = np.array([own[place[c]] if c in place else 0 for c in table.ids], dtype=np.int64)
    lengths = np.where(sizes > 0, one.frames(sizes), 0)
    return Reading(
        rows=rows,
        source=one,
        shape=shape_of(one),
        sizes=torch.from_numpy(sizes),
        length_here=torch.from_numpy(lengths),
        present=lengths > 0,
        words=_words_of(table, one, place),
        normed=scaling == "standardize",
        scaling=scaling.to(device) if isinstance(scaling, Scaling) else None,
    )


def _words_of(
    table: Table, one: LiveInput, place: Mapping[str, int]
) -> list[NDArray[np.int64]] | None:
    """Of each clip of the table the words that its tokens are of; None: not aligned."""
    if (rows := one.token_words()) is None:
        return None
    nothing, ends = np.zeros(0, np.int64), one.store.offsets()
    return [rows[ends[place[c]] : ends[place[c] + 1]] if c in place else nothing for c in table.ids]


def streamed(
    table: Table,
    one: Input | LiveInput,
    valid: NDArray[np.bool_],
    scaling: Wanted,
    device: torch.device,
    weighted: bool,
) -> Streamed:
    """Line one modality up with the clips of `table` and leave it on disk.

    A scaling that is not known is measured in one pass over the store, a part at a time.
    """
    store, layers = one.store, list(one.layers)
    first, length = lined_up(table, store.clips, store.offsets())
    stacked = 1 if weighted else len(layers)
    scale = scaling.to(device) if isinstance(scaling, Scaling) else None
    if scaling == "standardize":
        chosen = np.zeros(len(valid), bool)
        chosen[training_frames(table, first, length, valid)] = True
        running, done = Running(len(layers) // stacked, stacked * store.spec.width), 0
        for part in store.parts(layers):
            here = np.flatnonzero(chosen[done : done + part.offsets[-1]])
            running.add(joined(part.values, weighted), torch.from_numpy(here))
            done += int(part.offsets[-1])
        scale = running.scaling.to(device)
    return Streamed(
        shape=InputShape(stacked * store.spec.width, len(layers) if weighted else None, stacked),
        store=store,
        layers=one.layers,
        ids=table.ids,
        valid=valid.astype(bool),
        first=first,
        length_here=torch.from_numpy(length),
        present=_any_valid(first, length, valid),
        scaling=scale,
    )


def _nothing(one: Input | LiveInput) -> tuple[Ragged, NDArray[np.bool_]]:
    """A modality that no clip has: one frame that is not real, of a clip that is in no table."""
    shape = (len(one.layers), 1, one.store.spec.width)
    values = np.zeros(shape, np.dtype(one.store.spec.dtype))
    return Ragged(values, np.array([0, 1], np.int64), ("",)), np.zeros(1, np.bool_)


def bytes_of(one: Input | LiveInput) -> int:
    """Memory that one input takes when it is held."""
    numbers = int(one.store.frames.sum()) * len(one.layers) * one.store.spec.width
    wide = 4 * numbers
    return wide if wide <= WIDEN_BELOW else numbers * np.dtype(one.store.spec.dtype).itemsize


def lined_up(
    table: Table, clips: Sequence[str], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First frame and number of frames of each clip of the table, (clips,) each; 0, 0 if none."""
    found = {clip: position for position, clip in enumerate(clips)}
    position = np.array([found.get(clip, -1) for clip in table.ids], dtype=np.int64)
    here = position >= 0
    return np.where(here, offsets[position], 0), np.where(here, np.diff(offsets)[position], 0)


def training_frames(
    table: Table,
    first: NDArray[np.int64],
    length: NDArray[np.int64],
    valid: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Row numbers of the real frames of the training clips."""
    train = table.rows("train")
    frames = frame_rows(first[train], length[train])
    real: NDArray[np.int64] = frames[valid[frames].astype(bool)]
    return real


def frame_rows(first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers of every frame of the clips that begin at `first`.

    >>> frame_rows(np.array([7, 0]), np.array([2, 3])).tolist()
    [7, 8, 0, 1, 2]
    """
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())


def _any_valid(
    first: NDArray[np.int64], length: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    before = np.concatenate([[0], np.cumsum(valid)])  # valid frames before each row
    counted: NDArray[np.bool_] = before[first + length] > before[first]
    return counted


def _widened(values: Tensor, scale: Scaling | None) -> tuple[Tensor, int | None]:
    """As float32, scaled and with a row of zeros behind, where that is small; see `WIDEN_BELOW`.

    Also the number of that row, None if there is none.
    """
    if 4 * values.numel() > WIDEN_BELOW:
        if values.dtype == torch.float32 and scale is not None:
            scale.apply_(values)
        return values, None
    layers, frames, width = values.shape
    wide = torch.zeros(layers, frames + 1, width)
    wide[:, :frames] = values
    if scale is not None:
        scale.apply_(wide[:, :frames])
    return wide, frames


def _home(values: Tensor, device: torch.device) -> torch.device:
    """The device if `values` fit there, else the CPU."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    fits = values.numel() * values.element_size() <= (1 - SPARE) * free
    return device if fits else torch.device("cpu")
