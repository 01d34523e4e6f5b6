"""Faces found in clips, kept beside the stores: no other encoder ever looks for them again."""

import hashlib
import json
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .spec import Scalar
from .store.atomic_write import clear_stale, explained, fresh
from .store.index import stamp

PREFIX, SUFFIX = "faces-", ".npz"


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

    A folder of small immutable files, so any number of processes may add to it at once. What cannot
    be read is as good as never written: the faces are looked for again.
    """

    def __init__(self, corpus_folder: Path, settings: Mapping[str, Scalar]) -> None:
        """Open the store of the detector with these `settings`, or begin one."""
        self.settings = dict(settings)
        text = json.dumps(self.settings, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        self.path = Path(corpus_folder) / f"boxes-{digest}"
        self._held: dict[str, Found] = {}
        for file in sorted(self.path.glob(f"{PREFIX}*{SUFFIX}")):
            self._held |= _read(file)

    def get(self, source: str) -> Found | None:
        """What was found in the clip whose source has this digest; None: it was never looked at."""
        return self._held.get(source)

    def add(self, found: Mapping[str, Found]) -> None:
        """Keep what was found, by source; safe on disk on return. Raises StoreError."""
        if not found:
            return
        with explained(self.path):
            if not self.path.is_dir():
                self.path.mkdir(parents=True, exist_ok=True)
                with fresh(self.path / "settings.json") as temporary:
                    temporary.write_text(json.dumps(self.settings, indent=2) + "\n")
            clear_stale(self.path)
            with fresh(self.path / f"{PREFIX}{stamp()}-{secrets.token_hex(4)}{SUFFIX}") as file:
                np.savez(
                    file,
                    sources=np.array(list(found), dtype=np.str_),
                    frames=np.array([len(f.counts) for f in found.values()], dtype=np.int64),
                    counts=np.concatenate([f.counts for f in found.values()]),
                    faces=np.concatenate([f.faces for f in found.values()]),
                )
        self._held |= found


def _read(file: Path) -> dict[str, Found]:
    try:
        # zip files carry a checksum of each member
        with file.open("rb") as data, np.load(data, allow_pickle=False) as kept:
            counts, ends = kept["counts"], np.cumsum(kept["frames"])
            starts = np.concatenate([[0], np.cumsum(counts)])
            faces = kept["faces"]
            return {
                str(source): Found(counts[b:e], faces[starts[b] : starts[e]])
                for source, b, e in zip(
                    kept["sources"], [0, *ends[:-1].tolist()], ends.tolist(), strict=True
                )
            }
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return {}
