"""From stores to memory: the chosen layers read once, scaled, and placed where batches are made."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cache.errors import StoreError
from ..cache.spec import Modality
from ..cache.store import Ragged
from .data import Corpus, Source, Table
from .inputs import Input
from .models.base import InputShape
from .scaling import Scaling, measure

WIDEN_BELOW = 2**30
"""An input of at most this many bytes as float32 is kept so, scaled once; a larger one keeps the
stored dtype and is cast and scaled batch by batch. A model sees the same numbers either way."""
SPARE = 0.2
"""Share of a GPU's free memory left to the model; an input that does not fit stays with the CPU."""


def load(table: Table, inputs: Sequence[Input], scaling: str, device: torch.device) -> Corpus:
    """Read `inputs` into memory; `scaling` is ``none`` or ``standardize``, from training frames.

    Raises StoreError if a store holds no features.
    """
    sources: dict[Modality, Source] = {}
    for one in inputs:
        ragged = one.store.layers(list(one.layers))
        if not ragged.offsets[-1]:
            raise StoreError(
                f"{one.store.path}: no clip has {one.modality} features. "
                "`sedimental extract` says why and tries again."
            )
        valid = one.store.side("valid")
        sources[one.modality] = arrange(table, ragged, valid, one.weighted, scaling, device)
    labels = torch.from_numpy(table.labels.astype(np.float32)).to(device)
    return Corpus(table, sources, labels)


def arrange(
    table: Table,
    ragged: Ragged,
    valid: NDArray[np.bool_],
    weighted: bool,
    scaling: str,
    device: torch.device,
) -> Source:
    """Line one modality up with the clips of `table`; takes over the array of `ragged`."""
    found = {clip: position for position, clip in enumerate(ragged.clips)}
    position = np.array([found.get(clip, -1) for clip in table.ids], dtype=np.int64)
    here = position >= 0
    length = np.where(here, np.diff(ragged.offsets)[position], 0)
    first = np.where(here, ragged.offsets[position], 0)
    values = _joined(ragged.values, weighted)
    scale = None
    if scaling == "standardize":
        train = table.rows("train")
        frames = frame_rows(first[train], length[train])
        scale = measure(values, torch.from_numpy(frames[valid[frames]]))
    values = _widened(values, scale)
    home = _home(values, device)
    return Source(
        shape=InputShape(values.shape[2], len(values) if weighted else None),
        values=values.to(home),
        valid=torch.from_numpy(valid.astype(bool)).to(home),
        first=torch.from_numpy(first).to(home),
        length=torch.from_numpy(length).to(home),
        length_here=torch.from_numpy(length),
        present=_any_valid(first, length, valid),
        scaling=None if scale is None else scale.to(home),
    )


def frame_rows(first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers of every frame of the clips that begin at `first`.

    >>> frame_rows(np.array([7, 0]), np.array([2, 3])).tolist()
    [7, 8, 0, 1, 2]
    """
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())


def _joined(values: NDArray[np.floating], weighted: bool) -> Tensor:
    """(layers, N, width) as it is, or (1, N, layers * width) for layers that are not mixed."""
    owned = torch.from_numpy(values)
    if weighted or len(owned) == 1:
        return owned
    return owned.transpose(0, 1).reshape(1, owned.shape[1], -1)


def _any_valid(
    first: NDArray[np.int64], length: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    before = np.concatenate([[0], np.cumsum(valid)])  # valid frames before each row
    counted: NDArray[np.bool_] = before[first + length] > before[first]
    return counted


def _widened(values: Tensor, scale: Scaling | None) -> Tensor:
    """As float32 and scaled, where that is small; see `WIDEN_BELOW`."""
    if values.dtype != torch.float32 and 4 * values.numel() > WIDEN_BELOW:
        return values
    wide = values.float()
    return wide if scale is None else scale.apply_(wide)


def _home(values: Tensor, device: torch.device) -> torch.device:
    """The device if `values` fit there, else the CPU."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    fits = values.numel() * values.element_size() <= (1 - SPARE) * free
    return device if fits else torch.device("cpu")
