"""Faces found in clips, kept beside the stores: no other encoder ever looks for them again."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .safe_pickle.limits import PickleRefusedError
from .safe_pickle.npy import load_npz
from .spec import Scalar
from .store.atomic_write import clear_stale, explained, remove, replace
from .store.sealed_json import digest

PREFIX, SUFFIX = "faces-", ".npz"
_OLDER = re.compile(rf"{PREFIX}\d{{8}}T\d{{12}}-[0-9a-f]{{8}}{SUFFIX}")
"""Names of earlier versions, which do not end in a digest of the file."""


@dataclass(frozen=True)
class Found:
    """Every face of every frame of one clip."""

    counts: NDArray[np.int64]
    """(frames,) faces in each frame."""
    faces: NDArray[np.float32]
    """(faces of all frames, 5): left, top, right, bottom in pixels of the frame, probability."""

    @property
    def frames(self) -> list[NDArray[np.float32]]:
        """The faces of each frame, each (faces, 5)."""
        return np.split(self.faces, np.cumsum(self.counts)[:-1])


class BoxStore:
    """What one detector found, by the digest of the clip it looked at.

    A folder of small immutable files, each named by the digest of its bytes, so any number of
    processes may add to it at once. What is damaged is as good as never written: the faces are
    looked for again.
    """

    def __init__(self, corpus_folder: Path, settings: Mapping[str, Scalar]) -> None:
        """Open the store of the detector with these `settings`, or begin one."""
        self.settings = dict(settings)
        text = json.dumps(self.settings, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.path = Path(corpus_folder) / f"boxes-{name}"
        self._held: dict[str, Found] = {}
        self.damaged: list[Path] = []
        """Files that are not as they were written; `add` removes them."""
        for file in sorted(self.path.glob(f"{PREFIX}*{SUFFIX}")):
            found = _read(file)
            if found is None:
                self.damaged.append(file)
            else:
                self._held |= found

    def get(self, source: str) -> Found | None:
        """What was found in the clip whose source has this digest; None: it was never looked at."""
        return self._held.get(source)

    def add(self, found: Mapping[str, Found]) -> None:
        """Keep what was found, by source; safe on disk on return. Raises StoreError."""
        if not found:
            return
        with explained(self.path):
            replace(self.path / "settings.json", json.dumps(self.settings, indent=2) + "\n")
            clear_stale(self.path)
            while self.damaged:
                remove(self.damaged.pop())
            data = io.BytesIO()
            np.savez(
                data,
                sources=np.array(list(found), dtype=np.str_),
                frames=np.array([len(f.counts) for f in found.values()], dtype=np.int64),
                counts=np.concatenate([f.counts for f in found.values()]),
                faces=np.concatenate([f.faces for f in found.values()]),
            )
            written = data.getvalue()
            replace(self.path / f"{PREFIX}{digest(written)}{SUFFIX}", written)
        self._held |= found


def _read(file: Path) -> dict[str, Found] | None:
    """What was found, by source; None if these are not the bytes that were written."""
    try:
        written = file.read_bytes()
        if file.stem.removeprefix(PREFIX) != digest(written) and not _OLDER.fullmatch(file.name):
            return None
        return _found(**load_npz(file))
    except (OSError, PickleRefusedError, TypeError, ValueError):
        return None


def _found(
    sources: NDArray[Any], frames: NDArray[Any], counts: NDArray[Any], faces: NDArray[Any]
) -> dict[str, Found]:
    """What was found, by source; raises ValueError for arrays that do not belong together."""
    whole = [a.ndim == 1 and a.dtype == np.int64 and (a >= 0).all() for a in (frames, counts)]
    if (
        not all(whole)
        or (sources.ndim, sources.dtype.kind) != (1, "U")
        or (faces.ndim, faces.dtype.name) != (2, "float32")
        or (len(sources), len(counts)) != (len(frames), frames.sum())
        or faces.shape != (counts.sum(), 5)
    ):
        raise ValueError("arrays that do not belong together")
    ends = np.cumsum(frames)
    places = np.concatenate([[0], np.cumsum(counts)])
    return {
        str(source): Found(counts[e - n : e], faces[places[e - n] : places[e]])
        for source, n, e in zip(sources, frames.tolist(), ends.tolist(), strict=True)
    }
