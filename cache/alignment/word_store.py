"""A store as if its encoder had given one row a word: frames pooled over the words' spans.

Nothing of it is kept: the frames stay as they are, and are pooled each time they are read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreError
from ..store.ragged import Ragged, Statistics
from ..store.read_ranges import Longs
from ..store.store import Layers, Store
from .time_align import COLLAPSE
from .word_times import WordTimes

CHARACTERS = "characters"
"""Side array (tokens, 2) of text: first character of each token in the transcript, and the one
behind its last; -1 for tokens that are not of it."""
AT_ONCE = 256
"""Clips that are pooled at a time."""
LINEAR = ("mean", "weighted", "sum")
"""Ways of pooling that are one product of matrices."""
TOUCHING = 1e-6
"""Seconds of overlap that are rounding."""


@dataclass(frozen=True)
class _Frames:
    """Where the rows of a store are, in seconds or characters: (rows, 2), and which are real."""

    places: NDArray[np.float64]
    real: NDArray[np.bool_]
    offsets: NDArray[np.int64]


class WordStore(Store):
    """Reads like a store; all modalities of a clip have its words as rows, in their order.

    A word that no real frame overlaps (of text: no token) is a row that is not valid, as is one
    whose times are not known. Clips without word times are not held.
    """

    def __init__(self, inner: Store, words: Mapping[str, WordTimes], collapse: str) -> None:
        """Raises StoreError for text whose tokens' places are not known."""
        self._inner, self._words, self._collapse = inner, words, collapse
        self.path, self.spec, self.complete = inner.path, inner.spec, inner.complete
        self.failures = inner.failures
        held = {c for c in inner.clips if c in words and words[c].words}
        self.clips = tuple(clip for clip in inner.clips if clip in held)
        self.frames = np.array([len(words[c].words) for c in self.clips], dtype=np.int64)
        self.sources = {c: self._source(c) for c in self.clips}
        self._rank = {clip: rank for rank, clip in enumerate(self.clips)}
        self._part = inner._part[[rank for rank, c in enumerate(inner.clips) if c in held]]
        self._by_characters = inner.spec.modality == "text" and CHARACTERS in inner.sides
        timeless = self.clips and np.isnan(inner.side("times", self.clips[:1])).all()
        if inner.spec.modality == "text" and not self._by_characters and timeless:
            raise StoreError(
                f"{inner.path}: does not know where its tokens stand in the transcript, as text of "
                "earlier versions and of other tools does not. Remove the folder and run "
                "`sedimental extract`, or take align away."
            )

    def _source(self, clip: str) -> str:
        own = self._words[clip]
        said = f"{self._inner.sources[clip]} {own.source} {self._collapse}".encode()
        where = own.seconds.tobytes() + own.characters.tobytes()
        return hashlib.blake2b(said + where, digest_size=8).hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of the frames."""
        return self._inner.nbytes

    @property
    def formats(self) -> tuple[str, ...]:
        """Of the frames."""
        return self._inner.formats

    @property
    def sides(self) -> tuple[str, ...]:
        """Names that `side` takes."""
        return ("times", "durations", "valid")

    @property
    def part_count(self) -> int:
        """Of the frames."""
        return self._inner.part_count

    def side(self, name: str, clips: Sequence[str] | None = None) -> NDArray[Any]:
        """``times`` and ``durations`` of words in seconds, NaN where not known, or ``valid``."""
        ids = self.clips if clips is None else [self.clips[rank] for rank in self._ranks(clips)]
        if name == "valid":
            shares = [self._shares(clip).any(axis=1) for clip in ids]
            return np.concatenate([*shares, np.zeros(0, np.bool_)])
        if name not in self.sides:
            raise StoreError(f"{self.path}: words have no {name!r}, but {', '.join(self.sides)}.")
        spans = np.concatenate([*(self._words[c].seconds for c in ids), np.zeros((0, 2))])
        found = spans[:, 0] if name == "times" else spans[:, 1] - spans[:, 0]
        return found.astype(np.float32)

    def stats(self) -> Statistics:
        """Not kept of words."""
        raise StoreError(f"{self.path}: statistics are kept of frames, not of words.")

    def _read(self, layers: Layers | None, ranks: Longs | None) -> Ragged:
        """One float32 row a word, zero where nothing is."""
        ids = self.clips if ranks is None else tuple(self.clips[r] for r in ranks)
        names = self.spec.layers if layers is None else layers
        count, offsets = len(self.spec.positions(names)), self._offsets(ranks)
        values = np.zeros((count, int(offsets[-1]), self.spec.width), np.float32)
        for first in range(0, len(ids), AT_ONCE):
            some = ids[first : first + AT_ONCE]
            frames = self._inner.read(names, some)
            for number, clip in enumerate(some):
                begin, end = frames.offsets[number : number + 2]
                own = frames.values[:, begin:end].astype(np.float32)
                at, until = offsets[first + number : first + number + 2]
                values[:, at:until] = pooled(own, self._shares(clip), self._collapse)
        return Ragged(values, offsets, ids)

    @cached_property
    def _places(self) -> _Frames:
        """Of all frames of the clips that are held."""
        side, ids = self._inner.side, self.clips
        real = side("valid", ids).astype(np.bool_)
        if self._by_characters:
            places = side(CHARACTERS, ids).astype(np.float64)
        else:
            times = side("times", ids).astype(np.float64)
            places = np.stack([times, times + side("durations", ids)], axis=1)
        return _Frames(places, real, self._inner.offsets(ids))

    def _shares(self, clip: str) -> NDArray[np.float64]:
        """(words, frames) how much of each real frame, in seconds or characters, is each word's."""
        rank, own = self._rank[clip], self._words[clip]
        begin, end = self._places.offsets[rank : rank + 2]
        places, real = self._places.places[begin:end], self._places.real[begin:end]
        spans = own.characters.astype(np.float64) if self._by_characters else own.seconds
        found = overlaps(spans, places)
        found[:, ~real] = 0
        return found


def overlaps(spans: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(words, frames) length that spans (words, 2) and places (frames, 2) share; 0: none.

    A word without length has the frame that it lies in. NaN overlaps nothing.

    >>> overlaps(np.array([[0.1, 0.4], [0.3, 0.3]]), np.array([[0, 0.2], [0.2, 0.4]])).round(9)
    array([[0.1, 0.2],
           [0. , 1. ]])
    """
    begins, ends = spans[:, :1], spans[:, 1:]
    shared = np.minimum(ends, places[:, 1]) - np.maximum(begins, places[:, 0])
    point = (begins == ends) & (places[:, 0] <= begins) & (begins < places[:, 1])
    found: NDArray[np.float64] = np.where(shared > TOUCHING, shared, np.where(point, 1.0, 0.0))
    return found


def pooled(
    values: NDArray[np.float32], shares: NDArray[np.float64], collapse: str
) -> NDArray[np.float32]:
    """(layers, frames, width) by shares (words, frames) -> (layers, words, width).

    `collapse` is a name of `COLLAPSE`; a word without frames is zero.
    """
    if collapse in LINEAR:
        weights = shares if collapse == "weighted" else (shares > 0).astype(np.float64)
        if collapse != "sum":
            weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), TOUCHING)
        product: NDArray[np.float32] = weights.astype(np.float32) @ values
        return product
    layers, _, width = values.shape
    found = np.zeros((layers, len(shares), width), np.float32)
    for word, own in enumerate(shares):
        here = own > 0
        if here.any():
            rows = values[:, here].swapaxes(0, 1)  # (k, layers, width)
            found[:, word] = COLLAPSE[collapse](rows, own[here])
    return found
