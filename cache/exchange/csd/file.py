"""One computational sequence (.csd) of the CMU Multimodal SDK, as HDF5 keeps it.

``/<root name>/data/<key>/features`` (rows, width) and ``…/intervals`` (rows, 2) in seconds, a key a
video or, as ``video[segment]``, a segment; ``/<root name>/metadata/<name>`` holds JSON, each in a
dataset of one text. Numbers are features or labels, bytes are words.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...safe_pickle.limits import DEFAULT, shown
from ..columns import texts
from ..foreign import ExchangeError

DATA, METADATA, FEATURES, INTERVALS = "data", "metadata", "features", "intervals"
SEGMENT = re.compile(r"(.+)\[([^\[\]]+)\]")
FAULTS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError)
"""What h5py raises for damaged files."""


@dataclass(frozen=True)
class Rows:
    """The rows of one key."""

    features: NDArray[Any]
    """(rows, width); of words (rows,) text."""
    intervals: NDArray[np.float64]
    """(rows, 2) begin and end in seconds."""

    def within(self, begin: float, end: float) -> "Rows":
        """The rows whose middle lies in a segment."""
        middle = self.intervals.mean(axis=1)
        here = (middle >= begin) & (middle < end)
        return Rows(self.features[here], self.intervals[here])


class CsdFile:
    """An opened sequence; use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Raises ExchangeError for what is none."""
        self.path = path
        try:
            self._file = h5py.File(path, "r")
            roots = [name for name in self._file if _hard(self._file, name)]
            self.root = next(n for n in roots if DATA in self._file[n])
            self._data = _group(self._file[self.root], DATA)
            self.keys = tuple(key for key in self._data if _hard(self._data, key))
        except StopIteration:
            raise ExchangeError(
                f"{path}: no computational sequence: no /<name>/{DATA} in it."
            ) from None
        except FAULTS as fault:
            raise ExchangeError(f"{path}: not a .csd that can be read: {_word(fault)}.") from None
        self._left = DEFAULT.bytes_for(path.stat().st_size)
        self._known, self._charged = frozenset(self.keys), set[str]()
        self._last: tuple[str, Rows] | None = None

    def __contains__(self, key: str) -> bool:
        """Whether there are rows of a key."""
        return key in self._known

    def __enter__(self) -> "CsdFile":
        """The file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    def rows(self, key: str) -> Rows:
        """The rows of a key; raises ExchangeError naming it if they do not fit together."""
        if self._last is None or self._last[0] != key:  # clips of a video follow each other
            self._last = key, self._read(key)
        return self._last[1]

    def _read(self, key: str) -> Rows:
        try:
            group = _group(self._data, key)
            features, intervals = self._array(group, FEATURES), self._array(group, INTERVALS)
            intervals = intervals.astype(np.float64)
        except FAULTS as fault:
            raise self._wrong(key, _word(fault)) from None
        if intervals.ndim != 2 or intervals.shape[1] != 2 or len(features) != len(intervals):
            raise self._wrong(key, f"features {features.shape}, intervals {intervals.shape}")
        if not np.isfinite(intervals).all():
            raise self._wrong(key, "an interval that is no number")
        if features.dtype.kind in "OSU":
            firsts = [row[0] if len(row) else "" for row in features.reshape(len(features), -1)]
            return Rows(np.array(texts(firsts), object), intervals)
        if features.dtype.kind not in "fiu" or features.ndim > 2:
            raise self._wrong(key, f"features {features.shape} of {features.dtype}")
        return Rows(features.reshape(len(features), -1), intervals)

    def _array(self, group: Any, name: str) -> NDArray[Any]:
        """A dataset of this very file, not larger than a file of its size may be."""
        if not _hard(group, name) or not isinstance(group[name], h5py.Dataset):
            raise ValueError(f"{name} is no dataset of this file")
        dataset = group[name]
        if dataset.external or dataset.is_virtual or dataset.ndim not in (1, 2):
            raise ValueError(f"{name} lies in another file, or has {dataset.ndim} axes")
        if dataset.name not in self._charged:
            size = int(np.prod(dataset.shape, dtype=object)) * max(1, dataset.dtype.itemsize)
            if size > self._left:
                raise ValueError("it unpacks to more than a file of its size may")
            self._charged.add(dataset.name)
            self._left -= size
        return np.asarray(dataset[...])

    def _wrong(self, key: str, what: str) -> ExchangeError:
        return ExchangeError(f"{self.path}: {shown(key)}: {what}.")


def segment_of(key: str) -> tuple[str, str | None]:
    """Video and segment of a key; None of one that is a whole video.

    >>> segment_of("abc[3]"), segment_of("abc")
    (('abc', '3'), ('abc', None))
    """
    match = SEGMENT.fullmatch(key)
    return (match[1], match[2]) if match else (key, None)


def _hard(group: Any, name: str) -> bool:
    """Whether an entry lies in this file: links to other files are not followed."""
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _group(parent: Any, name: str) -> Any:
    if not _hard(parent, name) or not isinstance(parent[name], h5py.Group):
        raise ValueError(f"{shown(name)} is no group of this file")
    return parent[name]


def _word(fault: Exception) -> str:
    return shown(str(fault).splitlines()[0] if str(fault) else type(fault).__name__)
